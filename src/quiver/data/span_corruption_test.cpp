// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/span_corruption.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

TEST(SpanCorruptionOf, ARowAndItsTargetGiveTheTextBack) {
  SpanCorruption options;
  options.first_sentinel = 999;
  std::vector<std::int32_t> text(100);
  std::iota(text.begin(), text.end(), 10);
  Random random(7);
  for (int n = 0; n < 50; ++n) {
    const auto row = corrupt(text, options, random);
    const std::vector<std::int32_t> source(row.ids.begin(), row.ids.begin() + row.target_begin);
    const std::vector<std::int32_t> target(row.ids.begin() + row.target_begin, row.ids.end());
    // 15 of 100 tokens in 5 spans: 85 + 5 + end; 15 + 5 + 1 + end.
    ASSERT_EQ(source.size(), 91u);
    ASSERT_EQ(target.size(), 22u);
    EXPECT_EQ(source.back(), 1);
    EXPECT_EQ(target.back(), 1);
    EXPECT_EQ(target[target.size() - 2], 994);
    std::vector<std::int32_t> restored;
    for (std::size_t i = 0; i + 1 < source.size(); ++i) {
      if (source[i] < 900) {
        restored.push_back(source[i]);
        continue;
      }
      auto at = std::find(target.begin(), target.end(), source[i]) + 1;
      for (; *at < 900; ++at) restored.push_back(*at);
    }
    EXPECT_EQ(restored, text);
  }
}

TEST(SpanCorruptionOf, SpansAreAsLongAsAskedForAndEverywhere) {
  SpanCorruption options;
  Random random(3);
  std::vector<double> taken(40, 0.0);
  constexpr int kDraws = 4000;
  for (int n = 0; n < kDraws; ++n) {
    const auto noise = random_spans(40, options, random);
    ASSERT_EQ(std::count(noise.begin(), noise.end(), true), 6);
    int spans = 0;
    for (std::size_t i = 0; i < noise.size(); ++i) {
      spans += noise[i] && (i == 0 || !noise[i - 1]);
      taken[i] += noise[i];
    }
    ASSERT_EQ(spans, 2);
    ASSERT_FALSE(noise[0]);
    ASSERT_TRUE(noise[39]);
  }
  for (std::size_t i = 1; i < 39; ++i) EXPECT_GT(taken[i] / kDraws, 0.02) << i;
}

TEST(SpanCorruptionOf, LengthsFillTheSource) {
  const SpanCorruption options;
  for (const std::size_t tokens : {3u, 10u, 64u, 512u}) {
    const auto length = corrupted_length(tokens, options);
    Random random(1);
    const std::vector<std::int32_t> text(length, 50), longer(length + 1, 50);
    EXPECT_LE(corrupt(text, options, random).target_begin, static_cast<std::int32_t>(tokens));
    EXPECT_GT(corrupt(longer, options, random).target_begin, static_cast<std::int32_t>(tokens));
  }
  EXPECT_EQ(corrupted_length(512, options), 568u);  // 568 - 85 + 28 + 1 = 512
}

TEST(SpanCorruptionOf, BadOptionsAreRefused) {
  Random random(1);
  EXPECT_THROW(random_spans(1, {}, random), Error);
  EXPECT_THROW(random_spans(10, {.density = 0.0}, random), Error);
  EXPECT_THROW(corrupted_length(2, {}), Error);
  for (const double density : {0.0, 0.9999, 1.0}) EXPECT_THROW(corrupted_length(64, {.density = density}), Error);
}

}  // namespace
}  // namespace quiver::data
