// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file, checked.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <span>
#include <string_view>

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

struct SafetensorsEntry {
  TensorInfo info;
  at::ScalarType dtype = at::kFloat;
  std::uint64_t begin = 0;  ///< offset in the file
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// `file` is the whole file. Throws Error{format|unsupported} naming the tensor.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where);

/// "F32" for float32, and so on; Error{unsupported} for a type the format does not have.
std::string safetensors_dtype(at::ScalarType dtype);

}  // namespace quiver::tensor_io
