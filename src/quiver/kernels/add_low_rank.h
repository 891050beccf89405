// SPDX-License-Identifier: Apache-2.0
// The way out of low-rank factors.
#pragma once

#include <cstdint>

#include "quiver/kernels/dot_rows.h"

namespace quiver::kernels {

/// y[row(i), o] += sum_r h[i, r] * b[o, r], summed in float32 and rounded once.
///   y: rows y_stride apart; h: float32 [count, rank], dense; b: [out, rank], dense.
/// Rows must not be named twice. No alignment asked, no aliasing, no allocation.
template <typename Y, typename B>
struct AddLowRank {
  Y* y = nullptr;
  std::int64_t y_stride = 0;
  RowList rows;
  const float* h = nullptr;
  std::int64_t rank = 0;
  const B* b = nullptr;
};

/// Computes outputs o in [begin, end): threads share the work by splitting the outputs.
template <typename Y, typename B>
using AddLowRankKernel = void(const AddLowRank<Y, B>& product, std::int64_t begin, std::int64_t end);

}  // namespace quiver::kernels
