// SPDX-License-Identifier: Apache-2.0
// safetensors: u64 little-endian N; N bytes of JSON {name: {dtype, shape, data_offsets}}, opening with `{`; the
// tensors' bytes.
//
// Reading enforces what the reference reader does: N at most 100,000,000, valid UTF-8 JSON without duplicate keys,
// offsets that tile the data from 0 to the end of the file without hole or overlap, sizes that follow from dtype and
// shape, and metadata that maps text to text.
#pragma once

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

std::shared_ptr<TensorSource> open_safetensors(const fs::path& file);

/// `__metadata__` of a file.
std::map<std::string, std::string> safetensors_metadata(const fs::path& file);

/// `model.safetensors`, or the shards of `model.safetensors.index.json`: each tensor it maps must be in the file it
/// names, and no file may leave the folder.
std::shared_ptr<TensorSource> open_safetensors_folder(const fs::path& folder);

/// Atomic. The header is padded to 8 bytes; tensors are ordered by the size of their type, largest first, then by name.
void write_safetensors(const fs::path& file, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace quiver::tensor_io
