// SPDX-License-Identifier: Apache-2.0
// The walk over a recipe: seed by seed, library by library, route by route, so that a whole table stands after the
// first seed.
#pragma once

#include "quiver/recipes/executor.h"
#include "quiver/recipes/plan.h"

namespace quiver::recipes {

/// One score of the grid.
struct GridScore {
  std::string library, method;  ///< construction ("" for the base model) and route or regime
  std::string group;            ///< the tasks it is averaged with: "trained", "left out", "16 shots"
  std::string task, metric;
  std::int64_t experts = 0, seed = 0, count = 0;
  double value = 0, low = 0, high = 0;
};

class RecipeGrid {
 public:
  RecipeGrid(const Recipe& recipe, CellExecutor& executor, const CellStore& store)
      : recipe_(recipe), executor_(executor), store_(store) {}

  /// All cells; `each` is called when a library is through (the scores so far may be written down).
  void walk(const std::function<void()>& each);
  const std::vector<GridScore>& scores() const { return scores_; }

 private:
  using Members = std::vector<std::vector<std::string>>;
  const BuiltLibrary& build(const Construction& construction, std::int64_t seed);
  BuiltLibrary build_each(const Construction& construction, std::int64_t seed);
  BuiltLibrary build_joint(const Construction& construction, std::int64_t seed);
  void train(const Construction& construction, BuiltLibrary& library, const Members& tasks,
             const std::vector<std::string>& names, const BuiltLibrary& over = {});
  void identify(BuiltLibrary& library, const std::vector<std::string>& names, const CellExecutor::Results& results);
  Members cluster(const Construction& construction, std::int64_t seed, bool& ready);
  const BuiltLibrary& private_library(std::int64_t seed);
  void evaluate(const Route& route, const BuiltLibrary& library);
  bool prepare(const Cell& preparation);
  void adapt(const Adaptation& adaptation, const BuiltLibrary& library);
  void add_scores(const std::vector<GridScore>& blank, const CellExecutor::Results& results);

  const Recipe& recipe_;
  CellExecutor& executor_;
  const CellStore& store_;
  std::map<std::pair<std::string, std::int64_t>, BuiltLibrary> built_;  ///< by construction and seed
  /// By library and what is kept there: the last command that left it, and whether it could.
  std::map<std::pair<std::string, std::string>, std::pair<std::string, bool>> prepared_;
  std::vector<GridScore> scores_;
};

}  // namespace quiver::recipes
