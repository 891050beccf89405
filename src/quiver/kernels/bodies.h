// SPDX-License-Identifier: Apache-2.0
// What the kernels do, over vectors of W floats: written once, compiled for each instruction set by baseline.cpp,
// avx2.cpp and avx512.cpp.
#pragma once

#include <algorithm>
#include <cmath>

#include "quiver/kernels/add_low_rank.h"
#include "quiver/kernels/attend_one.h"
#include "quiver/kernels/dot_rows.h"
#include "quiver/kernels/norm_rows.h"
#include "quiver/kernels/rotate_half.h"
#include "quiver/kernels/vec.h"

namespace quiver::kernels {

QUIVER_INLINE std::int64_t row_of(const RowList& rows, std::int64_t i) {
  return rows.named ? rows.named[i] : rows.first + i;
}

/// T rows of x by O rows of w. Eight sums are in flight at 4 x 2: two products a cycle for four cycles of latency.
template <int W, int T, int O, typename X, typename Wt>
QUIVER_INLINE void dot_block(const DotRows<X, Wt>& k, std::int64_t i, std::int64_t o) {
  using V = Vec<W, any_bfloat16<X, Wt>>;
  const X* x[T];
  const Wt* w[O];
  repeat<T>([&](auto t) QUIVER_INLINED { x[t] = k.x + row_of(k.rows, i + t) * k.x_stride; });
  repeat<O>([&](auto j) QUIVER_INLINED { w[j] = k.w + (o + j) * k.w_stride; });
  typename V::Float sums[T][O] = {};
  std::int64_t c = 0;
  for (; c + V::kEntries <= k.columns; c += V::kEntries) {
    Pair<W> xv[T];
    repeat<T>([&](auto t) QUIVER_INLINED { xv[t] = V::load(x[t] + c); });
    repeat<O>([&](auto j) QUIVER_INLINED {
      __builtin_prefetch(w[j] + c + O * k.w_stride);  // the next block of rows: processors foresee runs, not O streams
      const Pair<W> wv = V::load(w[j] + c);
      repeat<T>([&](auto t) QUIVER_INLINED {
        sums[t][j] += xv[t].a * wv.a;
        sums[t][j] += xv[t].b * wv.b;
      });
    });
  }
  repeat<T>([&](auto t) QUIVER_INLINED {
    const float factor = k.weights ? k.scale * k.weights[i + t] : k.scale;
    repeat<O>([&](auto j) QUIVER_INLINED {
      float sum = V::sum(sums[t][j]);
      for (std::int64_t rest = c; rest < k.columns; ++rest) sum += widen(x[t][rest]) * widen(w[j][rest]);
      k.y[(i + t) * k.y_stride + o + j] = factor * sum;
    });
  });
}

template <int W, int T, int O, typename X, typename Wt>
QUIVER_INLINE void dot_outputs(const DotRows<X, Wt>& k, std::int64_t i, std::int64_t begin, std::int64_t end) {
  std::int64_t o = begin;
  for (; o + O <= end; o += O) dot_block<W, T, O>(k, i, o);
  for (; o < end; ++o) dot_block<W, T, 1>(k, i, o);
}

template <int W, typename X, typename Wt>
QUIVER_INLINE void dot_rows_body(const DotRows<X, Wt>& k, std::int64_t begin, std::int64_t end) {
  // Many rows: w is small and stays in cache while rows pass. Few: w is large and passes once.
  const std::int64_t outputs_at_once = k.rows.count > 8 ? end - begin : 4;
  for (std::int64_t o = begin; o < end; o += outputs_at_once) {
    const auto last = std::min(end, o + outputs_at_once);
    std::int64_t i = 0;
    for (; i + 4 <= k.rows.count; i += 4) dot_outputs<W, 4, 2>(k, i, o, last);
    for (; i < k.rows.count; ++i) dot_outputs<W, 1, 4>(k, i, o, last);
  }
}

constexpr std::int64_t kColumnsAtOnce = 64;
constexpr std::int64_t kRanksAtOnce = 64;

/// Up to 64 outputs by up to 64 ranks: b is turned once so that outputs lie in vectors, then serves every row.
template <int W, typename Y, typename B>
QUIVER_INLINE void add_low_rank_block(const AddLowRank<Y, B>& k, std::int64_t o, std::int64_t width, std::int64_t r0,
                                      std::int64_t ranks) {
  using V = Vec<W, any_bfloat16<Y>>;
  constexpr int kPairs = kColumnsAtOnce / V::kEntries;
  float turned[kRanksAtOnce * kColumnsAtOnce];
  const bool whole = width == kColumnsAtOnce;
  for (std::int64_t j = 0; j < width; ++j) {
    const std::int64_t at = whole ? V::position(j) : j;
    for (std::int64_t r = 0; r < ranks; ++r) turned[r * kColumnsAtOnce + at] = widen(k.b[(o + j) * k.rank + r0 + r]);
  }
  for (std::int64_t i = 0; i < k.rows.count; ++i) {
    Y* y = k.y + row_of(k.rows, i) * k.y_stride + o;
    const float* h = k.h + i * k.rank + r0;
    if (whole) {
      Pair<W> sums[kPairs];
      repeat<kPairs>([&](auto v) QUIVER_INLINED { sums[v] = V::load(y + v * V::kEntries); });
      for (std::int64_t r = 0; r < ranks; ++r) {
        const typename V::Float value = V::all(h[r]);
        const float* b = turned + r * kColumnsAtOnce;
        repeat<kPairs>([&](auto v) QUIVER_INLINED {
          sums[v].a += value * V::load_vector(b + v * V::kEntries);
          sums[v].b += value * V::load_vector(b + v * V::kEntries + W);
        });
      }
      repeat<kPairs>([&](auto v) QUIVER_INLINED { V::store(y + v * V::kEntries, sums[v]); });
    } else {
      for (std::int64_t j = 0; j < width; ++j) {
        float sum = widen(y[j]);
        for (std::int64_t r = 0; r < ranks; ++r) sum += h[r] * turned[r * kColumnsAtOnce + j];
        narrow(sum, y[j]);
      }
    }
  }
}

template <int W, typename Y, typename B>
QUIVER_INLINE void add_low_rank_body(const AddLowRank<Y, B>& k, std::int64_t begin, std::int64_t end) {
  for (std::int64_t o = begin; o < end; o += kColumnsAtOnce) {
    for (std::int64_t r = 0; r < k.rank; r += kRanksAtOnce)
      add_low_rank_block<W>(k, o, std::min(kColumnsAtOnce, end - o), r, std::min(kRanksAtOnce, k.rank - r));
  }
}

template <int W, typename T>
QUIVER_INLINE void norm_rows_body(const NormRows<T>& k, std::int64_t begin, std::int64_t end) {
  using V = Vec<W, any_bfloat16<T>>;
  for (std::int64_t t = begin; t < end; ++t) {
    const T* x = k.x + t * k.columns;
    T* out = k.out + t * k.columns;
    Pair<W> squares = {};
    std::int64_t c = 0;
    for (; c + V::kEntries <= k.columns; c += V::kEntries) {
      const Pair<W> v = V::load(x + c);
      squares.a += v.a * v.a;
      squares.b += v.b * v.b;
    }
    float sum = V::sum(squares.a + squares.b);
    for (; c < k.columns; ++c) sum += widen(x[c]) * widen(x[c]);
    const float inverse = 1.0f / std::sqrt(sum / static_cast<float>(k.columns) + k.epsilon);
    if (k.inverse) k.inverse[t] = inverse;
    for (c = 0; c + V::kEntries <= k.columns; c += V::kEntries) {
      const Pair<W> v = V::load(x + c), w = V::load(k.weight + c);
      V::store(out + c, Pair<W>{v.a * inverse * w.a, v.b * inverse * w.b});
    }
    for (; c < k.columns; ++c) narrow(widen(x[c]) * inverse * widen(k.weight[c]), out[c]);
  }
}

template <int W, typename T>
QUIVER_INLINE void rotate_half_body(const RotateHalf<T>& k, std::int64_t begin, std::int64_t end) {
  using V = Vec<W, any_bfloat16<T>>;
  for (std::int64_t t = begin; t < end; ++t) {
    const float *cosine = k.cosine + t * k.half, *sine = k.sine + t * k.half;
    for (std::int64_t h = 0; h < k.heads; ++h) {
      const T *a = k.x + t * k.token_stride + h * k.head_stride, *b = a + k.half;
      T *first = k.out + t * k.out_token_stride + h * 2 * k.half, *second = first + k.half;
      std::int64_t c = 0;
      for (; c + V::kEntries <= k.half; c += V::kEntries) {
        const Pair<W> av = V::load(a + c), bv = V::load(b + c), cos = V::load(cosine + c), sin = V::load(sine + c);
        const Pair<W> s{sin.a * k.sine_sign, sin.b * k.sine_sign};
        V::store(first + c, Pair<W>{av.a * cos.a - bv.a * s.a, av.b * cos.b - bv.b * s.b});
        V::store(second + c, Pair<W>{bv.a * cos.a + av.a * s.a, bv.b * cos.b + av.b * s.b});
      }
      for (; c < k.half; ++c) {
        const float av = widen(a[c]), bv = widen(b[c]), s = sine[c] * k.sine_sign;
        narrow(av * cosine[c] - bv * s, first[c]);
        narrow(bv * cosine[c] + av * s, second[c]);
      }
    }
  }
}

/// The weighted sum of values, `Pairs` pairs of vectors of the width at a time.
template <int W, int Pairs, typename T>
QUIVER_INLINE void weighted_values(const AttendOne<T>& k, std::int64_t c) {
  using V = Vec<W, any_bfloat16<T>>;
  Pair<W> sums[Pairs] = {};
  for (std::int64_t s = 0; s < k.count; ++s) {
    const typename V::Float p = V::all(k.scores[s]);
    repeat<Pairs>([&](auto v) QUIVER_INLINED {
      const Pair<W> value = V::load(k.values + s * k.value_stride + c + v * V::kEntries);
      sums[v].a += p * value.a;
      sums[v].b += p * value.b;
    });
  }
  repeat<Pairs>([&](auto v) QUIVER_INLINED { V::store(k.out + c + v * V::kEntries, sums[v]); });
}

template <int W, typename T>
QUIVER_INLINE void attend_one_body(const AttendOne<T>& k) {
  const DotRows<T, T> product{k.q,     k.width,  {nullptr, 0, 1}, k.keys,  k.key_stride,
                              k.width, k.scores, k.count,         nullptr, k.scale};
  dot_rows_body<W>(product, 0, k.count);
  float largest = k.scores[0], sum = 0.0f;
  for (std::int64_t s = 1; s < k.count; ++s) largest = std::max(largest, k.scores[s]);
  for (std::int64_t s = 0; s < k.count; ++s) sum += k.scores[s] = std::exp(k.scores[s] - largest);
  for (std::int64_t s = 0; s < k.count; ++s) k.scores[s] /= sum;
  std::int64_t c = 0;
  for (; c + 4 * W <= k.width; c += 4 * W) weighted_values<W, 2>(k, c);
  for (; c + 2 * W <= k.width; c += 2 * W) weighted_values<W, 1>(k, c);
  for (; c < k.width; ++c) {
    float total = 0.0f;
    for (std::int64_t s = 0; s < k.count; ++s) total += k.scores[s] * widen(k.values[s * k.value_stride + c]);
    narrow(total, k.out[c]);
  }
}

}  // namespace quiver::kernels
