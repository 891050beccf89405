// SPDX-License-Identifier: Apache-2.0
// Adding rows of one matrix onto chosen rows of another.
#pragma once

#include <cstdint>

namespace quiver::kernels {

/// Rows of a matrix: row r begins at data + r * stride (entries); its first `columns` entries take part.
template <typename T>
struct RowsOf {
  T* data = nullptr;
  std::int64_t stride = 0;
};

/// to[rows[i], :] += from[i, :] for i in [begin, end). Rows named once only may be split between threads; the ranges of
/// two threads must not name the same row. No aliasing between `to` and `from`, no allocation.
void scatter_add_rows(RowsOf<float> to, RowsOf<const float> from, const std::int64_t* rows, std::int64_t begin,
                      std::int64_t end, std::int64_t columns);

/// The same for bfloat16 held as 16-bit words: added in float32, rounded to nearest, ties to even.
void scatter_add_rows(RowsOf<std::uint16_t> to, RowsOf<const std::uint16_t> from, const std::int64_t* rows,
                      std::int64_t begin, std::int64_t end, std::int64_t columns);

}  // namespace quiver::kernels
