// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/scatter_rows.h"

#include <bit>

namespace quiver::kernels {
namespace {

float widen(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t narrow(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);  // NaN stays NaN
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace

void scatter_add_rows(RowsOf<float> to, RowsOf<const float> from, const std::int64_t* rows, std::int64_t begin,
                      std::int64_t end, std::int64_t columns) {
  for (std::int64_t i = begin; i < end; ++i) {
    float* __restrict out = to.data + rows[i] * to.stride;
    const float* __restrict in = from.data + i * from.stride;
    for (std::int64_t c = 0; c < columns; ++c) out[c] += in[c];
  }
}

void scatter_add_rows(RowsOf<std::uint16_t> to, RowsOf<const std::uint16_t> from, const std::int64_t* rows,
                      std::int64_t begin, std::int64_t end, std::int64_t columns) {
  for (std::int64_t i = begin; i < end; ++i) {
    std::uint16_t* __restrict out = to.data + rows[i] * to.stride;
    const std::uint16_t* __restrict in = from.data + i * from.stride;
    for (std::int64_t c = 0; c < columns; ++c) out[c] = narrow(widen(out[c]) + widen(in[c]));
  }
}

}  // namespace quiver::kernels
