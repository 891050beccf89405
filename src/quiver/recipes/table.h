// SPDX-License-Identifier: Apache-2.0
// The scores of a grid as papers print them, in Markdown, and as JSON.
#pragma once

#include "quiver/recipes/grid.h"
#include "quiver/recipes/statistics.h"

namespace quiver::recipes {

/// A row of the grid over one group of tasks.
struct GridMean {
  std::string library, method, group;
  std::int64_t experts = 0;
  Estimate estimate;
};
/// In the order of the scores.
std::vector<GridMean> grid_means(const std::vector<GridScore>& scores);

/// A table of means with intervals, methods by groups; then one per group with its tasks: methods by tasks, or, where
/// the tasks are many, tasks by methods. Values in per cent. The best mean of a column is bold.
std::string render_grid(const Recipe& recipe, const std::vector<GridScore>& scores);

nlohmann::json to_json(const GridMean& mean);
nlohmann::json to_json(const GridScore& score);

}  // namespace quiver::recipes
