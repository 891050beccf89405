// SPDX-License-Identifier: Apache-2.0
// Attention of one query over a history of keys: what decoding does a token at a time.
#pragma once

#include <cstdint>

#include "quiver/kernels/element.h"

namespace quiver::kernels {

/// out = sum_s softmax_s(scale * q . keys[s]) * values[s], in float32, rounded once.
///   q, out: [width], dense; keys, values: `count` rows of `width` entries, key_stride and value_stride apart;
///   scores: room for `count` floats. count >= 1. No alignment asked, no aliasing, no allocation.
template <typename T>
struct AttendOne {
  const T* q = nullptr;
  const T* keys = nullptr;
  const T* values = nullptr;
  std::int64_t key_stride = 0;
  std::int64_t value_stride = 0;
  std::int64_t count = 0;
  std::int64_t width = 0;
  float scale = 1.0f;
  float* scores = nullptr;
  T* out = nullptr;
};

template <typename T>
using AttendOneKernel = void(const AttendOne<T>& query);

}  // namespace quiver::kernels
