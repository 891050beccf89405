// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/statistics.h"

#include <array>
#include <cmath>
#include <map>

namespace quiver::recipes {
namespace {

constexpr double kNormal = 1.959964;

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

double student_quantile(std::size_t degrees) {
  constexpr std::array<double, 10> table{12.7062, 4.3027, 3.1824, 2.7764, 2.5706,
                                         2.4469,  2.3646, 2.3060, 2.2622, 2.2281};
  if (degrees <= table.size()) return table[degrees - 1];
  const double n = static_cast<double>(degrees), z = kNormal, z3 = z * z * z, z5 = z3 * z * z;
  return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n);
}

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
    out.standard_error = (below + above) / (2 * kNormal);
  }
  out.low = out.mean - below;
  out.high = out.mean + above;
  return out;
}

}  // namespace quiver::recipes
