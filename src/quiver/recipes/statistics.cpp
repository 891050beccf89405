// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/statistics.h"

#include <cmath>
#include <map>

#include "quiver/base/student_t.h"

namespace quiver::recipes {
namespace {

double mean_of(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total / static_cast<double>(values.size());
}

/// Of the mean, from the means of the seeds.
double standard_error_of(const std::vector<double>& means) {
  const double mean = mean_of(means), n = static_cast<double>(means.size());
  double squares = 0;
  for (const double value : means) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1) / n);
}

/// A task's score and the distances of its interval's ends, over seeds: errors of one set of test rows do not average
/// out.
struct TaskMean {
  double value = 0, below = 0, above = 0;
  std::size_t seeds = 0;
};

}  // namespace

Estimate estimate_mean(const std::vector<Score>& scores) {
  std::map<std::string, TaskMean> tasks;
  std::map<std::int64_t, std::vector<double>> seeds;
  for (const auto& score : scores) {
    auto& task = tasks[score.task];
    task.value += score.value;
    task.below += score.value - score.low;
    task.above += score.high - score.value;
    ++task.seeds;
    seeds[score.seed].push_back(score.value);
  }
  Estimate out;
  out.tasks = tasks.size();
  out.seeds = seeds.size();
  const double count = static_cast<double>(tasks.size());
  double below = 0, above = 0;
  for (const auto& [name, task] : tasks) {
    const double n = static_cast<double>(task.seeds);
    out.mean += task.value / n / count;
    below += std::pow(task.below / n, 2);
    above += std::pow(task.above / n, 2);
  }
  std::vector<double> means;
  bool complete = seeds.size() > 1;
  for (const auto& [seed, values] : seeds) {
    complete = complete && values.size() == tasks.size();
    means.push_back(mean_of(values));
  }
  if (complete) {
    out.standard_error = standard_error_of(means);
    below = above = student_quantile(means.size() - 1) * out.standard_error;
  } else {
    below = std::sqrt(below) / count;
    above = std::sqrt(above) / count;
    out.standard_error = (below + above) / (2 * kNormalQuantile);
  }
  out.low = out.mean - below;
  out.high = out.mean + above;
  return out;
}

}  // namespace quiver::recipes
