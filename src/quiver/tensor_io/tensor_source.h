// SPDX-License-Identifier: Apache-2.0
// Named tensors from a file, whatever its format: what model and adapter loaders read from.
//
// Implementations map their file read-only and load a tensor when it is asked for. All bytes are treated as hostile:
// opening checks every offset, shape and size, so that `load` cannot read outside the file. Thread-safe after opening.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quiver/base/files.h"

namespace quiver::tensor_io {

struct TensorInfo {
  std::vector<std::int64_t> shape;
  std::string stored_dtype;  ///< as the file spells it: "F32", "BF16", "Q4_1", ...
  std::uint64_t bytes = 0;   ///< as stored
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// All tensors, by name.
  virtual const std::map<std::string, TensorInfo>& tensors() const = 0;
  /// The tensor, in its stored dtype (quantised GGUF types: float32). It may point into the mapped file, which it then
  /// keeps alive, and must not be written to. Throws Error{not_found} naming the tensor and the nearest name.
  virtual at::Tensor load(const std::string& name) const = 0;
  /// The bytes as stored, for hashing.
  virtual const void* stored_bytes(const std::string& name) const = 0;
};

}  // namespace quiver::tensor_io
