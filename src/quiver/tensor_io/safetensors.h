// SPDX-License-Identifier: Apache-2.0
// safetensors: u64 little-endian N; N bytes of JSON {name: {dtype, shape, data_offsets}}, opening with `{`; the
// tensors' bytes. Offsets count from the first byte after the JSON.
//
// Reading enforces what the reference reader does: N at most 100,000,000, valid UTF-8 JSON without duplicate keys,
// offsets that tile the data from 0 to the end of the file without hole or overlap, sizes that follow from dtype and
// shape, and metadata that maps text to text; besides, names are of one line and at most 1,000 bytes. Tensors of rank 0
// and without elements are legal. Data need not be aligned: a tensor that is not is copied instead of mapped.
#pragma once

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

/// Throws Error{not_found|io|format|unsupported}.
std::shared_ptr<TensorSource> open_safetensors(const fs::path& file);

/// `__metadata__` of a file; empty where it has none.
std::map<std::string, std::string> safetensors_metadata(const fs::path& file);

/// Atomic. The header is padded to 8 bytes; tensors are ordered by alignment of their type, largest first, then by
/// name, which with at most one metadata entry gives the bytes that the reference writer gives. Tensors may lie on any
/// device and need not be contiguous. Throws Error{unsupported} naming a tensor whose type the format lacks.
void write_safetensors(const fs::path& file, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace quiver::tensor_io
