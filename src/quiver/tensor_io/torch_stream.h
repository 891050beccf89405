// SPDX-License-Identifier: Apache-2.0
// Files of torch.save before PyTorch 1.6, and of its _use_new_zipfile_serialization=False since:
//
//   pickle   a magic number
//   pickle   1001, the version of the format
//   pickle   {protocol_version, little_endian, type_sizes} of the machine
//   pickle   the value, whose storages are ('storage', torch.XStorage, key, device, elements[, None])
//   pickle   [key, ...]
//   of each key in turn: the number of its elements, 8 bytes little-endian, and their bytes
//
// Read as torch_archive.h's files are, with the same bounds; nothing in them is run.
#pragma once

#include "quiver/tensor_io/mapped_file.h"
#include "quiver/tensor_io/pickle.h"

namespace quiver::tensor_io {

/// True where the bytes begin with the magic number.
bool is_torch_stream(std::span<const std::byte> bytes);

/// What torch.load would give. Throws Error{format|unsupported}.
Pickle read_torch_stream(const std::shared_ptr<const MappedFile>& file, const std::string& where);

}  // namespace quiver::tensor_io
