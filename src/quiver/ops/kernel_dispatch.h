// SPDX-License-Identifier: Apache-2.0
// From tensors to the pointers of kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/kernels/element.h"

namespace quiver::ops {

/// True where kernels can read the tensor: on the CPU, float32 or bfloat16, the entries of a row side by side.
inline bool kernels_serve(const at::Tensor& t) {
  const auto dtype = t.scalar_type();
  return t.is_cpu() && (dtype == at::kFloat || dtype == at::kBFloat16) && t.dim() > 0 && t.stride(-1) == 1;
}

/// run(float{}) or run(kernels::Bfloat16{}), by the dtype, which is one of the two.
template <typename Run>
auto with_element(at::ScalarType dtype, Run run) {
  return dtype == at::kFloat ? run(float{}) : run(kernels::Bfloat16{});
}

template <typename T>
const T* entries(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <typename T>
T* writable_entries(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

}  // namespace quiver::ops
