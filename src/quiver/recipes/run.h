// SPDX-License-Identifier: Apache-2.0
// A recipe from its file to its tables: cells that are there are kept, the others are run, and results.md and
// results.json are written whenever a library is through.
#pragma once

#include "quiver/recipes/executor.h"
#include "quiver/recipes/table.h"

namespace quiver::recipes {

struct RunOptions {
  std::string recipe;                ///< the file
  std::string data;                  ///< the folder that its tasks lie in
  std::string output;                ///< the folder of cells, libraries and results
  std::string model;                 ///< in place of the recipe's; empty: the recipe's
  std::vector<std::string> changes;  ///< KEY=VALUE in place of the recipe's
  bool dry_run = false;              ///< tell the commands that would run, and run nothing
};

struct RunResult {
  std::string name;             ///< of the recipe
  std::string table;            ///< as results.md
  std::vector<GridMean> means;  ///< its rows
  std::vector<CellFailure> failures;
  std::int64_t waiting = 0;  ///< cells that a failure holds up
  std::int64_t ran = 0;      ///< commands
};

/// Throws Error{usage|format} where the recipe is not one, before anything is run, and Error{not_found} naming the task
/// files that are missing. A cell that fails is no error: it is among the failures, and the others go on.
RunResult run_recipe(const RunOptions& options, const CellOutput& output);

}  // namespace quiver::recipes
