// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/run.h"

#include <optional>

#include "quiver/base/error.h"
#include "quiver/base/progress.h"
#include "quiver/base/strings.h"
#include "quiver/base/version.h"

namespace quiver::recipes {
namespace {

/// Every task that the recipe names is there, before hours are spent on the others.
void check_tasks(const Recipe& recipe, const CellStore& store) {
  auto tasks = recipe.data.train;
  tasks.insert(tasks.end(), recipe.data.left_out.begin(), recipe.data.left_out.end());
  for (const auto& a : recipe.adaptations) tasks.insert(tasks.end(), a.tasks.begin(), a.tasks.end());
  std::vector<std::string> missing;
  for (const auto& task : tasks) {
    if (!fs::is_regular_file(store.task_file(task))) missing.push_back(store.task_file(task).string());
  }
  QUIVER_CHECK(missing.empty(), not_found, "--data", "{} of {} task files are missing: {}", missing.size(),
               tasks.size(), join(missing, ", "));
}

class Run {
 public:
  Run(const RunOptions& options, const CellOutput& output)
      : options_(options),
        output_(output),
        recipe_(read_recipe(options.recipe, options.changes)),
        store_(options.data, options.output) {
    if (!options.model.empty()) recipe_.model = options.model;
    check_tasks(recipe_, store_);
  }

  RunResult all() {
    std::optional<FileLock> lock;
    if (!options_.dry_run) lock.emplace(fs::path(options_.output) / ".lock");
    const auto machine = arguments_of(recipe_.machine);
    CellExecutor counting(store_, CellExecutor::Mode::count, machine, output_);
    walk(counting, [](const RecipeGrid&) {});
    const auto mode = options_.dry_run ? CellExecutor::Mode::show : CellExecutor::Mode::run;
    CellExecutor executor(store_, mode, machine, output_, counting.counts());
    say_start(counting.counts());
    RunResult result;
    result.name = recipe_.name;
    walk(executor, [&](const RecipeGrid& grid) {
      if (!options_.dry_run) write(grid, executor, result);
    });
    result.failures = executor.failures();
    result.waiting = executor.waiting();
    result.ran = executor.ran();
    return result;
  }

 private:
  void walk(CellExecutor& executor, const std::function<void(const RecipeGrid&)>& each) {
    RecipeGrid grid(recipe_, executor, store_);
    grid.walk([&] { each(grid); });
    each(grid);
  }

  void say_start(const CellCounts& counts) {
    const auto left = counts.seconds_left();
    const bool known = left >= 0 && counts.done() < counts.total();
    const auto time = known ? fmt::format(", about {} left", format_duration(left)) : "";
    output_.log(fmt::format("{}: {} of {} cells are there{}", recipe_.name, counts.done(), counts.total(), time));
  }

  void write(const RecipeGrid& grid, const CellExecutor& executor, RunResult& result) {
    result.table = render_grid(recipe_, grid.scores());
    result.means = grid_means(grid.scores());
    nlohmann::json results{{"recipe", recipe_.name},
                           {"source", recipe_.source},
                           {"model", recipe_.model},
                           {"version", version()},
                           {"seeds", recipe_.seeds},
                           {"means", nlohmann::json::array()},
                           {"scores", nlohmann::json::array()},
                           {"failures", nlohmann::json::array()}};
    for (const auto& mean : result.means) results["means"].push_back(to_json(mean));
    for (const auto& score : grid.scores()) results["scores"].push_back(to_json(score));
    for (const auto& f : executor.failures())
      results["failures"].push_back({{"cell", f.label}, {"command", f.command}, {"error", f.error}});
    const fs::path folder = options_.output;
    write_file_atomically(folder / "results.md", result.table);
    write_file_atomically(folder / "results.json",
                          results.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  const RunOptions& options_;
  const CellOutput& output_;
  Recipe recipe_;
  CellStore store_;
};

}  // namespace

RunResult run_recipe(const RunOptions& options, const CellOutput& output) { return Run(options, output).all(); }

}  // namespace quiver::recipes
