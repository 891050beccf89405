// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/few_shot.h"

#include <algorithm>
#include <map>
#include <string>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::training {
namespace {

/// Classes in the order in which `rows` first shows them, each with its rows in that order.
std::vector<std::vector<std::size_t>> by_target(const data::Task& task, const std::vector<std::size_t>& rows) {
  std::map<std::string, std::size_t> number;
  std::vector<std::vector<std::size_t>> out;
  for (const auto row : rows) {
    const auto [place, fresh] = number.emplace(task.examples[row].target, out.size());
    if (fresh) out.emplace_back();
    out[place->second].push_back(row);
  }
  return out;
}

/// First of each class, second of each, ...
std::vector<std::size_t> in_turn(const std::vector<std::vector<std::size_t>>& classes, std::size_t each) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < each; ++i) {
    for (const auto& own : classes) {
      if (i < own.size()) out.push_back(own[i]);
    }
  }
  return out;
}

}  // namespace

std::vector<std::size_t> few_shot_rows(const data::Task& task, const FewShotOptions& o) {
  QUIVER_CHECK(o.shots >= 0 && o.shots_per_class >= 0 && o.shots + o.shots_per_class > 0, usage, "--shots",
               "{} in all and {} per class, expected at least one example", o.shots, o.shots_per_class);
  auto rows = task.rows(data::Split::train);
  QUIVER_CHECK(!rows.empty(), usage, "task " + task.name, "no rows of split 'train' to draw examples from");
  Random(derive_seed(o.seed, 77)).shuffle(rows);
  if (o.shots_per_class > 0) rows = in_turn(by_target(task, rows), static_cast<std::size_t>(o.shots_per_class));
  if (o.shots > 0 && rows.size() > static_cast<std::size_t>(o.shots)) rows.resize(static_cast<std::size_t>(o.shots));
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace quiver::training
