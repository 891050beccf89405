// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/task_sampling.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

std::vector<std::int64_t> tasks_of(const std::vector<std::size_t>& sizes) {
  std::vector<std::int64_t> out;
  for (std::size_t t = 0; t < sizes.size(); ++t) out.insert(out.end(), sizes[t], static_cast<std::int64_t>(t));
  return out;
}

TEST(TaskSampling, SharesGoFromBySizeToAlike) {
  const std::vector<std::size_t> sizes{100, 25, 0};
  EXPECT_NEAR(task_shares(sizes, 1.0)[0], 0.8, 1e-12);
  EXPECT_NEAR(task_shares(sizes, 2.0)[0], 10.0 / 15.0, 1e-12);
  EXPECT_NEAR(task_shares(sizes, std::numeric_limits<double>::infinity())[0], 0.5, 1e-12);
  EXPECT_EQ(task_shares(sizes, 2.0)[2], 0.0);
  EXPECT_THROW(task_shares(sizes, 0.5), Error);
}

TEST(TaskSampling, TemperatureOneVisitsEveryRowOnce) {
  auto drawn = sample_rows(tasks_of({7, 3, 12}), 1.0, 22, 4);
  EXPECT_FALSE(std::is_sorted(drawn.begin(), drawn.end()));
  std::sort(drawn.begin(), drawn.end());
  for (std::size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i], i);
}

TEST(TaskSampling, RowsOfATaskTakeTurns) {
  const auto tasks = tasks_of({100, 25});
  const auto drawn = sample_rows(tasks, 2.0, 150, 4);
  ASSERT_EQ(drawn.size(), 150u);
  std::vector<int> seen(tasks.size(), 0);
  for (const auto row : drawn) ++seen[row];
  EXPECT_EQ(std::accumulate(seen.begin(), seen.begin() + 100, 0), 100);
  for (std::size_t row = 100; row < 125; ++row) EXPECT_EQ(seen[row], 2) << row;
  EXPECT_EQ(drawn, sample_rows(tasks, 2.0, 150, 4));
  EXPECT_NE(drawn, sample_rows(tasks, 2.0, 150, 5));
}

TEST(TaskSampling, WeightsMakeTasksCountAlike) {
  std::vector<data::TokenRow> rows(3);
  rows[0] = {{1, 2, 3, 4, 5}, 1, 1, 0};  // 4 target tokens
  rows[1] = {{1, 2, 3}, 1, 1, 0};        // 2
  rows[2] = {{1, 2, 3}, 1, 1, 0};        // 2
  const std::vector<std::int64_t> tasks{0, 0, 1};
  const auto weights = equal_task_weights(rows, tasks);
  EXPECT_NEAR(weights[0] * 4 + weights[1] * 2, weights[2] * 2, 1e-12);
  EXPECT_NEAR(weights[0] * 4 + weights[1] * 2 + weights[2] * 2, 8.0, 1e-12);
}

}  // namespace
}  // namespace quiver::training
