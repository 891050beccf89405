// SPDX-License-Identifier: Apache-2.0
// Root-mean-square normalisation of rows.
#pragma once

#include <cstdint>

#include "quiver/kernels/element.h"

namespace quiver::kernels {

/// out[t, :] = x[t, :] * inverse_t * weight with inverse_t = 1 / sqrt(mean(x[t, :]^2) + epsilon), in float32, rounded
/// once.
///   x, out: dense rows of `columns` entries; inverse: one float a row, or null. out may be x.
template <typename T>
struct NormRows {
  const T* x = nullptr;
  const T* weight = nullptr;
  T* out = nullptr;
  float* inverse = nullptr;
  std::int64_t columns = 0;
  float epsilon = 0.0f;
};

/// Rows [begin, end).
template <typename T>
using NormRowsKernel = void(const NormRows<T>& norm, std::int64_t begin, std::int64_t end);

}  // namespace quiver::kernels
