// SPDX-License-Identifier: Apache-2.0
// Tensors over a mapped file: a view where the file's alignment allows it, else a copy.
#pragma once

#include <c10/core/ScalarType.h>

#include "quiver/tensor_io/mapped_file.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

/// The row-major tensor of `shape` and `dtype` whose bytes begin at `begin`; the caller has checked that they lie in
/// the file. A view keeps the file mapped; it is made where `begin` is a multiple of the element's alignment.
at::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, std::uint64_t begin,
                         const std::vector<std::int64_t>& shape, at::ScalarType dtype);

/// Throws Error{not_found} that names the tensor and the nearest of `known`.
[[noreturn]] void fail_missing_tensor(const std::string& where, const std::string& name,
                                      const std::map<std::string, TensorInfo>& known);

/// Multiplies `product` by an extent; false where the result leaves what torch can count (2^62), in which case
/// `product` is spent. An extent of 0 counts as 1, as torch does in its strides, so that no later product overflows.
[[nodiscard]] bool multiply_extent(std::uint64_t& product, std::uint64_t extent);

}  // namespace quiver::tensor_io
