// SPDX-License-Identifier: Apache-2.0
// The mean of a row of the grid over tasks, and how sure it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quiver::recipes {

/// The score of one task under one method and seed, with the 95 % bootstrap interval over the task's rows (NaN where
/// the verb gives none).
struct Score {
  std::string task;
  std::int64_t seed = 0;
  double value = 0, low = 0, high = 0;
};

struct Estimate {
  double mean = 0, standard_error = 0, low = 0, high = 0;
  std::size_t tasks = 0, seeds = 0;
};

/// Mean over tasks of the mean over seeds. With S > 1 seeds that each have all tasks, the standard error is that of the
/// S means over tasks, s / sqrt(S), and the 95 % interval mean +- t(S - 1) of them (Student). Else (one seed, or seeds
/// that are not complete) the tasks' bootstrap intervals, taken as independent: the mean's end lies sqrt(sum of squared
/// distances) / tasks away from it, and the standard error is the interval's width / (2 * 1.96), NaN where a task has
/// no interval. Scores must not be empty.
Estimate estimate_mean(const std::vector<Score>& scores);

}  // namespace quiver::recipes
