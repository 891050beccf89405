// SPDX-License-Identifier: Apache-2.0
// Products of a few rows with a matrix that is read once: the linear maps of decoding, and the way into low-rank
// factors.
#pragma once

#include <cstdint>

#include "quiver/kernels/element.h"

namespace quiver::kernels {

/// Which rows of a matrix take part: row i is `named[i]`, or first + i where nothing is named.
struct RowList {
  const std::int64_t* named = nullptr;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// y[i, o] = factor_i * sum_c x[row(i), c] * w[o, c], summed in float32.
///   x: rows of `columns` entries, x_stride apart; w: rows of `columns` entries, w_stride apart;
///   y: float32, y_stride apart; factor_i = scale * (weights ? weights[i] : 1).
/// w is streamed: each row is read from memory once whatever the count. No alignment asked, no aliasing with y, no
/// allocation.
template <typename X, typename W>
struct DotRows {
  const X* x = nullptr;
  std::int64_t x_stride = 0;
  RowList rows;
  const W* w = nullptr;
  std::int64_t w_stride = 0;
  std::int64_t columns = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  const float* weights = nullptr;
  float scale = 1.0f;
};

/// Computes outputs o in [begin, end): threads share a product by splitting the outputs.
template <typename X, typename W>
using DotRowsKernel = void(const DotRows<X, W>& product, std::int64_t begin, std::int64_t end);

}  // namespace quiver::kernels
