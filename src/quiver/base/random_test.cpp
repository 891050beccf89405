// SPDX-License-Identifier: Apache-2.0
// The reference values are those of xoshiro256** seeded through SplitMix64, computed by a separate implementation in
// Python's whole numbers.
#include "quiver/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

namespace quiver {
namespace {

TEST(Random, ReferenceValues) {
  struct Case {
    std::uint64_t seed;
    std::array<std::uint64_t, 4> first;
  };
  const Case cases[] = {
      {0, {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c}},
      {1, {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7}},
      {42, {0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1}},
      {~std::uint64_t{0}, {0x8f5520d52a7ead08, 0xc476a018caa1802d, 0x81de31c0d260469e, 0xbf658d7e065f3c2f}},
  };
  for (const auto& [seed, first] : cases) {
    Random random(seed);
    for (const auto expected : first) EXPECT_EQ(random.bits(), expected) << "seed " << seed;
  }
}

TEST(Random, TheThousandthValue) {
  Random random(42);
  for (int i = 0; i < 999; ++i) random.bits();
  EXPECT_EQ(random.bits(), 0x8de5848c61ab8968);
}

TEST(Uniform, IsTheTopBits) {
  Random random(42);
  EXPECT_EQ(random.uniform(), static_cast<double>(0x15780b2e0c2ec716 >> 11) / 9007199254740992.0);
}

// The bounds of the tests below are five standard deviations of what is measured; the seed is fixed.
TEST(Uniform, HasTheMomentsOfTheUnitInterval) {
  constexpr int kCount = 100'000;
  Random random(7);
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kCount, 1.0 / 2, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kCount));
}

TEST(Below, ReachesEachValueEquallyOften) {
  constexpr int kCount = 70'000, kBound = 7;
  Random random(11);
  std::array<int, kBound> seen{};
  for (int i = 0; i < kCount; ++i) ++seen.at(random.below(kBound));
  const double deviation = std::sqrt(kCount * (1.0 / kBound) * (1 - 1.0 / kBound));
  for (const int count : seen) EXPECT_NEAR(count, kCount / kBound, 5 * deviation);
}

TEST(Below, HasNoModuloBias) {
  // Plain `bits() % bound` would give the lower half of this bound twice as often as the upper half.
  constexpr int kCount = 20'000;
  const std::uint64_t bound = (std::uint64_t{1} << 63) + (std::uint64_t{1} << 62);
  Random random(13);
  int low = 0;
  for (int i = 0; i < kCount; ++i) {
    const auto value = random.below(bound);
    ASSERT_LT(value, bound);
    low += value < bound / 2;
  }
  EXPECT_NEAR(low, kCount / 2, 5 * std::sqrt(kCount / 4.0));
}

TEST(Below, OneLeavesZero) {
  Random random(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(random.below(1), 0u);
}

TEST(Normal, HasTheMomentsOfTheStandardNormal) {
  constexpr int kCount = 100'000;
  Random random(17);
  double sum = 0, squares = 0, fourths = 0;
  for (int i = 0; i < kCount; ++i) {
    const double value = random.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
  }
  EXPECT_NEAR(sum / kCount, 0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(fourths / kCount, 3, 5 * std::sqrt(96.0 / kCount));
}

TEST(Shuffle, IsAPermutationThatTheSeedDecides) {
  std::vector<int> items(100), again(100), other(100);
  for (auto* list : {&items, &again, &other}) std::iota(list->begin(), list->end(), 0);
  const auto sorted = items;
  Random(3).shuffle(items);
  Random(3).shuffle(again);
  Random(4).shuffle(other);
  EXPECT_EQ(items, again);
  EXPECT_NE(items, other);
  EXPECT_NE(items, sorted);
  std::sort(items.begin(), items.end());
  EXPECT_EQ(items, sorted);
}

TEST(Shuffle, ReachesEachOrderEquallyOften) {
  constexpr int kCount = 24'000, kOrders = 24;
  Random random(19);
  std::map<std::vector<int>, int> seen;
  for (int i = 0; i < kCount; ++i) {
    std::vector<int> items = {0, 1, 2, 3};
    random.shuffle(items);
    ++seen[items];
  }
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kOrders));
  const double deviation = std::sqrt(kCount * (1.0 / kOrders) * (1 - 1.0 / kOrders));
  for (const auto& [order, count] : seen) EXPECT_NEAR(count, kCount / kOrders, 5 * deviation);
}

TEST(DeriveSeed, PartsAndSeedsDiffer) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (std::uint64_t part = 0; part < 100; ++part) seeds.insert(derive_seed(seed, part));
  }
  EXPECT_EQ(seeds.size(), 10'000u);
  EXPECT_EQ(derive_seed(1, 2), derive_seed(1, 2));
}

}  // namespace
}  // namespace quiver
