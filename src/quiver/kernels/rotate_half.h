// SPDX-License-Identifier: Apache-2.0
// Rotary positions: the halves of each head turned by the angle of their token.
#pragma once

#include <cstdint>

#include "quiver/kernels/element.h"

namespace quiver::kernels {

/// (a, b) -> (a cos - b sin, b cos + a sin) with a = x[t, h, :half], b = x[t, h, half:2 half]; sine_sign = -1 turns
/// back.
///   x: head h of token t at x + t * token_stride + h * head_stride; out: the same with its own token stride and its
///   heads side by side; cosine, sine: [tokens, half], float32. In float32, rounded once. No aliasing.
template <typename T>
struct RotateHalf {
  const T* x = nullptr;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;
  T* out = nullptr;
  std::int64_t out_token_stride = 0;
  std::int64_t heads = 0;
  std::int64_t half = 0;
  const float* cosine = nullptr;
  const float* sine = nullptr;
  float sine_sign = 1.0f;
};

/// Tokens [begin, end).
template <typename T>
using RotateHalfKernel = void(const RotateHalf<T>& rotation, std::int64_t begin, std::int64_t end);

}  // namespace quiver::kernels
