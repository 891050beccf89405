// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/few_shot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

/// 60 training rows: 40 of "yes", 15 of "no", 5 of "maybe"; then 10 test rows.
data::Task task() {
  data::Task out;
  out.name = "polls";
  for (int i = 0; i < 70; ++i) {
    data::Example example;
    example.source = std::to_string(i);
    example.target = i % 12 == 0 ? "maybe" : i % 4 == 1 ? "no" : "yes";
    example.split = i < 60 ? data::Split::train : data::Split::test;
    out.examples.push_back(example);
  }
  return out;
}

std::map<std::string, int> counts(const data::Task& task, const std::vector<std::size_t>& rows) {
  std::map<std::string, int> out;
  for (const auto row : rows) {
    EXPECT_EQ(task.examples[row].split, data::Split::train);
    ++out[task.examples[row].target];
  }
  return out;
}

TEST(FewShot, IsBalancedPerClassAsFarAsThereAreRows) {
  const auto polls = task();
  const auto drawn = counts(polls, few_shot_rows(polls, {0, 8, 1}));
  EXPECT_EQ(drawn.at("yes"), 8);
  EXPECT_EQ(drawn.at("no"), 8);
  EXPECT_EQ(drawn.at("maybe"), 5) << "all it has";
}

TEST(FewShot, ClassesTakeTurnsUnderABoundInAll) {
  const auto polls = task();
  const auto drawn = counts(polls, few_shot_rows(polls, {7, 8, 2}));
  int sum = 0;
  for (const auto& [target, n] : drawn) {
    EXPECT_GE(n, 2) << target;
    EXPECT_LE(n, 3) << target;
    sum += n;
  }
  EXPECT_EQ(sum, 7);
}

TEST(FewShot, IsTheSameOfOneSeedAndGrowsInPlace) {
  const auto polls = task();
  const auto sixteen = few_shot_rows(polls, {16, 0, 5});
  EXPECT_EQ(sixteen.size(), 16u);
  EXPECT_TRUE(std::is_sorted(sixteen.begin(), sixteen.end()));
  EXPECT_EQ(sixteen, few_shot_rows(polls, {16, 0, 5}));
  EXPECT_NE(sixteen, few_shot_rows(polls, {16, 0, 6}));
  const auto eight = few_shot_rows(polls, {8, 0, 5});
  EXPECT_TRUE(std::includes(sixteen.begin(), sixteen.end(), eight.begin(), eight.end()));
  EXPECT_EQ(few_shot_rows(polls, {1000, 0, 5}).size(), 60u);
}

TEST(FewShot, SaysWhatIsMissing) {
  auto polls = task();
  EXPECT_THROW(few_shot_rows(polls, {0, 0, 0}), Error);
  for (auto& example : polls.examples) example.split = data::Split::test;
  EXPECT_THROW(few_shot_rows(polls, {4, 0, 0}), Error);
}

}  // namespace
}  // namespace quiver::training
