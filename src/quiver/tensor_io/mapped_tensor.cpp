// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/mapped_tensor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::tensor_io {

at::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, std::uint64_t begin,
                         const std::vector<std::int64_t>& shape, at::ScalarType dtype) {
  const auto options = at::TensorOptions().dtype(dtype);
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (empty) return at::empty(shape, options);
  const auto* data = file->bytes().data() + begin;
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(dtype) == 0) {
    const auto release = [keep = file](void*) {};
    return at::from_blob(const_cast<std::byte*>(data), shape, release, options);
  }
  auto copy = at::empty(shape, options);
  std::memcpy(copy.data_ptr(), data, copy.nbytes());
  return copy;
}

void fail_missing_tensor(const std::string& where, const std::string& name,
                         const std::map<std::string, TensorInfo>& known) {
  std::vector<std::string> names;
  for (const auto& [known_name, info] : known) names.push_back(known_name);
  fail(ErrorCode::not_found, where, "no tensor '{}'{}", name, suggestion(name, names));
}

bool multiply_extent(std::uint64_t& product, std::uint64_t extent) {
  const bool overflow = __builtin_mul_overflow(product, std::max<std::uint64_t>(extent, 1), &product);
  return !overflow && product <= std::uint64_t{1} << 62;
}

}  // namespace quiver::tensor_io
