// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file, checked, and the names of its types.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <span>

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

inline constexpr std::uint64_t kMaxSafetensorsHeader_bytes = 100'000'000;
inline constexpr const char* kSafetensorsMetadataKey = "__metadata__";

/// `file` is the whole file. Throws Error{format|unsupported} naming the tensor.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where);

struct SafetensorsDtype {
  const char* name;  ///< "F32"
  at::ScalarType dtype;
  int rank;  ///< place in the order in which the reference writer lays tensors out, 0 first
};

/// nothing for a type that the format does not have.
std::optional<SafetensorsDtype> safetensors_dtype(at::ScalarType dtype);

}  // namespace quiver::tensor_io
