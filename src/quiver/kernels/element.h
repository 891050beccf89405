// SPDX-License-Identifier: Apache-2.0
// The entries that kernels read and write: float, and bfloat16 as the upper half of one.
#pragma once

#include <bit>
#include <cstdint>

namespace quiver::kernels {

struct Bfloat16 {
  std::uint16_t bits;
};

inline float widen(float value) { return value; }
inline float widen(Bfloat16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

/// Rounds to nearest, ties to even; NaN stays NaN.
inline void narrow(float value, Bfloat16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) {
    out.bits = static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  } else {
    out.bits = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
  }
}
inline void narrow(float value, float& out) { out = value; }

}  // namespace quiver::kernels
