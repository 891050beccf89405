// SPDX-License-Identifier: Apache-2.0
// Vectors of W floats for the bodies of kernels. Everything is inlined into functions that carry a target attribute, so
// that one body serves every instruction set; nothing here may be called from elsewhere.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "quiver/kernels/element.h"

#define QUIVER_INLINE inline __attribute__((always_inline))
#define QUIVER_INLINED __attribute__((always_inline))  // of a lambda, after its parameters

namespace quiver::kernels {

template <int W>
struct VecTypes;
template <>
struct VecTypes<4> {
  typedef float Float __attribute__((vector_size(16)));
  typedef std::uint32_t Word __attribute__((vector_size(16)));
};
template <>
struct VecTypes<8> {
  typedef float Float __attribute__((vector_size(32)));
  typedef std::uint32_t Word __attribute__((vector_size(32)));
};
template <>
struct VecTypes<16> {
  typedef float Float __attribute__((vector_size(64)));
  typedef std::uint32_t Word __attribute__((vector_size(64)));
};

/// 2 W neighbouring entries as two vectors. Two bfloat16 share a 32-bit word, so that the cheap way to widen them is to
/// part the even ones from the odd ones; where any operand of a kernel is bfloat16, all are parted like that
/// (`Parted`). Otherwise `a` is the first half and `b` the second.
template <int W>
struct Pair {
  typename VecTypes<W>::Float a, b;
};

template <int W, bool Parted>
struct Vec {
  using Float = typename VecTypes<W>::Float;
  using Word = typename VecTypes<W>::Word;
  static constexpr std::int64_t kEntries = 2 * W;

  static QUIVER_INLINE Float load_vector(const float* p) {
    Float v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  static QUIVER_INLINE Pair<W> load(const float* p) {
    const Float first = load_vector(p), second = load_vector(p + W);
    if constexpr (Parted) {
      return part(first, second, std::make_integer_sequence<int, W>{});
    } else {
      return {first, second};
    }
  }
  static QUIVER_INLINE Pair<W> load(const Bfloat16* p) {
    static_assert(Parted);
    Word words;
    std::memcpy(&words, p, sizeof words);
    return {reinterpret_cast<Float>(words << 16), reinterpret_cast<Float>(words & 0xffff0000U)};
  }
  static QUIVER_INLINE void store(float* p, const Pair<W>& v) {
    Pair<W> halves = v;
    if constexpr (Parted) halves = join(v, std::make_integer_sequence<int, W>{});
    std::memcpy(p, &halves.a, sizeof halves.a);
    std::memcpy(p + W, &halves.b, sizeof halves.b);
  }
  static QUIVER_INLINE void store(Bfloat16* p, const Pair<W>& v) {
    static_assert(Parted);
    const Word words = (rounded(v.a) >> 16) | (rounded(v.b) & 0xffff0000U);
    std::memcpy(p, &words, sizeof words);
  }
  /// Where entry j of a row goes so that plain loads find it in the lanes of a Pair.
  static QUIVER_INLINE std::int64_t position(std::int64_t j) {
    const std::int64_t block = j / kEntries * kEntries, i = j % kEntries;
    return Parted ? block + i / 2 + i % 2 * W : j;
  }
  static QUIVER_INLINE Float all(float value) { return Float{} + value; }
  static QUIVER_INLINE float sum(Float v) {
    float lanes[W];
    std::memcpy(lanes, &v, sizeof v);
    for (int step = W / 2; step > 0; step /= 2) {
      for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
    }
    return lanes[0];
  }

 private:
  /// Even and odd entries of two neighbouring vectors.
  template <int... I>
  static QUIVER_INLINE Pair<W> part(Float first, Float second, std::integer_sequence<int, I...>) {
    return {__builtin_shufflevector(first, second, (2 * I)...), __builtin_shufflevector(first, second, (2 * I + 1)...)};
  }
  /// The way back.
  template <int... I>
  static QUIVER_INLINE Pair<W> join(const Pair<W>& v, std::integer_sequence<int, I...>) {
    return {__builtin_shufflevector(v.a, v.b, (I / 2 + I % 2 * W)...),
            __builtin_shufflevector(v.a, v.b, (W / 2 + I / 2 + I % 2 * W)...)};
  }
  /// bfloat16 in the upper halves: to nearest, ties to even; NaN stays NaN.
  static QUIVER_INLINE Word rounded(Float v) {
    const Word bits = reinterpret_cast<Word>(v);
    const Word to_even = bits + 0x7fffU + ((bits >> 16) & 1U);
    return (bits & 0x7fffffffU) > 0x7f800000U ? bits | 0x400000U : to_even;
  }
};

/// step(0) to step(N - 1), each with a constant for its argument: arrays that it indexes become registers, which a loop
/// does not give before it is unrolled, and then it is too late.
template <int... I, typename Step>
QUIVER_INLINE void repeat(std::integer_sequence<int, I...>, Step step) {
  (step(std::integral_constant<int, I>{}), ...);
}
template <int N, typename Step>
QUIVER_INLINE void repeat(Step step) {
  repeat(std::make_integer_sequence<int, N>{}, step);
}

template <typename... T>
constexpr bool any_bfloat16 = (std::is_same_v<T, Bfloat16> || ...);

}  // namespace quiver::kernels
