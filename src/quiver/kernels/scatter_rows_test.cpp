// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/scatter_rows.h"

#include <gtest/gtest.h>

#include <vector>

#include "quiver/base/random.h"

namespace quiver::kernels {
namespace {

TEST(ScatterAddRows, AddsWhatItNamesAndNothingElse) {
  Random random(1);
  for (const std::int64_t columns : {0, 1, 7, 8, 9, 31, 64}) {
    const std::int64_t stride = columns + 3;
    std::vector<float> to(static_cast<std::size_t>(6 * stride)), from(static_cast<std::size_t>(3 * columns));
    for (auto& v : to) v = static_cast<float>(random.normal());
    for (auto& v : from) v = static_cast<float>(random.normal());
    auto expected = to;
    const std::vector<std::int64_t> rows{4, 0, 2};
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::int64_t c = 0; c < columns; ++c) {
        expected[static_cast<std::size_t>(rows[i] * stride + c)] +=
            from[i * static_cast<std::size_t>(columns) + static_cast<std::size_t>(c)];
      }
    }
    scatter_add_rows({to.data(), stride}, {from.data(), columns}, rows.data(), 0, 2, columns);
    scatter_add_rows({to.data(), stride}, {from.data(), columns}, rows.data(), 2, 3, columns);
    EXPECT_EQ(to, expected) << columns;
  }
}

TEST(ScatterAddRows, Bfloat16RoundsToNearestEven) {
  // 1 + 2^-8 lies half-way between 1 (0x3f80) and 1 + 2^-7 (0x3f81): the even one is 1; 1 + 2^-7 + 2^-8 goes up to
  // 0x3f82.
  std::vector<std::uint16_t> to{0x3f80, 0x3f81};
  const std::vector<std::uint16_t> from{0x3b80, 0x3b80};
  const std::int64_t row = 0;
  scatter_add_rows({to.data(), 2}, {from.data(), 2}, &row, 0, 1, 2);
  EXPECT_EQ(to[0], 0x3f80);
  EXPECT_EQ(to[1], 0x3f82);
}

}  // namespace
}  // namespace quiver::kernels
