// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/few_shot.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"
#include "quiver/data/benchmarks/mersenne.h"

namespace quiver::data {
namespace {

using Indices = std::vector<std::size_t>;

/// `labels` of single letters.
FewShotItems items_of(const std::string& labels, std::size_t classes) {
  FewShotItems items;
  for (const char label : labels) items.labels.emplace_back(1, label);
  items.classes = classes;
  items.taken.assign(labels.size(), false);
  return items;
}

// Python's order of ten items under 42 is 7 3 2 8 5 6 9 4 0 1 (permutations.json).
TEST(FewShot, TakesItsShareOfEachClassInTheOrderMet) {
  const auto items = items_of("aabbaaabba", 2);  // met: b b b b a a a a a a
  EXPECT_EQ(choose_few_shot(items, {.shots = 2}), (Indices{7, 3, 5, 6}));
  EXPECT_EQ(choose_few_shot(items, {.shots = 4, .of = ShotsOf::all_classes}), (Indices{7, 3, 5, 6}));
  EXPECT_EQ(choose_few_shot(items, {.shots = 5, .of = ShotsOf::all_classes}), (Indices{7, 3, 5, 6}));
  EXPECT_EQ(choose_few_shot(items, {.shots = 50}), (Indices{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}));
}

TEST(FewShot, WithoutClassesTheFirstAreTaken) {
  const auto items = items_of("abcdefghij", 0);
  EXPECT_EQ(choose_few_shot(items, {.shots = 3}), (Indices{7, 3, 2}));
  EXPECT_EQ(choose_few_shot(items, {.shots = 3, .of = ShotsOf::all_classes}), (Indices{7, 3, 2}));
}

TEST(FewShot, WhatAnotherSplitHoldsIsNotChosen) {
  auto items = items_of("aabbaaabba", 2);
  items.taken[3] = items.taken[5] = true;
  EXPECT_EQ(choose_few_shot(items, {.shots = 2}), (Indices{7, 2, 6, 9}));
}

TEST(FewShot, TheSearchEnds) {
  // A second class whose only item comes after a thousand others is not found, as in PEMT; at the 1000th place it is.
  const auto order = python_shuffle(1200, 42);
  for (const std::size_t place : {999u, 1000u, 1001u}) {
    auto items = items_of(std::string(1200, 'a'), 2);
    items.labels[order[place]] = "b";
    const auto chosen = choose_few_shot(items, {.shots = 1});
    EXPECT_EQ(chosen.size(), place <= 1000 ? 2u : 1u) << place;
  }
}

TEST(FewShot, RefusesFewerShotsThanClasses) {
  EXPECT_THROW(choose_few_shot(items_of("ab", 2), {.shots = 1, .of = ShotsOf::all_classes}), Error);
  EXPECT_EQ(shots_of_from_name("total"), ShotsOf::all_classes);
  EXPECT_THROW(shots_of_from_name("totla"), Error);
}

}  // namespace
}  // namespace quiver::data
