// SPDX-License-Identifier: Apache-2.0
// A few training examples of a task, drawn by seed.
#pragma once

#include <cstdint>
#include <vector>

#include "quiver/data/task.h"

namespace quiver::training {

struct FewShotOptions {
  std::int64_t shots = 0;            ///< examples in all; 0: no such bound
  std::int64_t shots_per_class = 0;  ///< examples of each different target; 0: targets are not looked at
  std::uint64_t seed = 0;
};

/// Numbers of the examples drawn from split `train`, ascending. Per class: as many of each target as asked for, or all
/// it has; with `shots` too, classes take turns until that many are drawn. A larger number of one seed holds the
/// examples of a smaller one. Throws Error{usage} where the task has no training rows or neither number is given.
std::vector<std::size_t> few_shot_rows(const data::Task& task, const FewShotOptions& options);

}  // namespace quiver::training
