// SPDX-License-Identifier: Apache-2.0
// quiver run: a recipe's grid of experiments, every cell kept by what it depends on.
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/progress.h"
#include "quiver/base/strings.h"
#include "quiver/base/version.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/recipes/table.h"

namespace quiver::cli {
namespace {

using namespace recipes;

/// Of the executor: on standard error what runs, on standard output what would.
const CellOutput kOutput{[](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); },
                         [](const std::string& line) { std::printf("%s\n", line.c_str()); }};

struct Options {
  std::string recipe, data, output, model;
  std::vector<std::string> changes;
  bool dry_run = false, json = false;
};

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
  explicit Run(const Options& o) : o_(o), recipe_(read_recipe(o.recipe, o.changes)), store_(o.data, o.output) {
    if (!o.model.empty()) recipe_.model = o.model;
    check_tasks(recipe_, store_);
  }

  void all() {
    std::optional<FileLock> lock;
    if (!o_.dry_run) lock.emplace(fs::path(o_.output) / ".lock");
    const auto machine = arguments_of(recipe_.machine);
    CellExecutor counting(store_, CellExecutor::Mode::count, machine, kOutput);
    walk(counting, [](const RecipeGrid&) {});
    const auto mode = o_.dry_run ? CellExecutor::Mode::show : CellExecutor::Mode::run;
    CellExecutor executor(store_, mode, machine, kOutput, counting.counts());
    say_start(counting.counts());
    if (o_.dry_run) return walk(executor, [](const RecipeGrid&) {});
    walk(executor, [&](const RecipeGrid& grid) { write(grid, executor); });
    print(executor);
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
    std::fprintf(
        stderr, "%s\n",
        fmt::format("{}: {} of {} cells are there{}", recipe_.name, counts.done(), counts.total(), time).c_str());
  }

  void write(const RecipeGrid& grid, const CellExecutor& executor) {
    table_ = render_grid(recipe_, grid.scores());
    means_ = grid_means(grid.scores());
    nlohmann::json results{{"recipe", recipe_.name},
                           {"source", recipe_.source},
                           {"model", recipe_.model},
                           {"version", version()},
                           {"seeds", recipe_.seeds},
                           {"means", nlohmann::json::array()},
                           {"scores", nlohmann::json::array()},
                           {"failures", nlohmann::json::array()}};
    for (const auto& mean : means_) results["means"].push_back(to_json(mean));
    for (const auto& score : grid.scores()) results["scores"].push_back(to_json(score));
    for (const auto& f : executor.failures()) {
      results["failures"].push_back({{"cell", f.label}, {"command", f.command}, {"error", f.error}});
    }
    write_file_atomically(fs::path(o_.output) / "results.md", table_);
    write_file_atomically(fs::path(o_.output) / "results.json",
                          results.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  void print(const CellExecutor& executor) {
    if (!o_.json) std::printf("%s", table_.c_str());
    for (const auto& mean : means_) {
      if (o_.json) print_json(to_json(mean));
    }
    for (const auto& f : executor.failures()) {
      std::fprintf(stderr, "failed: %s\n  %s\n  %s\n", f.label.c_str(), f.error.c_str(), f.command.c_str());
    }
    std::fprintf(stderr, "%s\n",
                 fmt::format("{}: {} commands run; {}/results.md, results.json, commands.txt", recipe_.name,
                             executor.ran(), o_.output)
                     .c_str());
    QUIVER_CHECK(executor.failures().empty(), io, "run " + recipe_.name,
                 "{} cells failed, and {} wait for them; the same command tries these again",
                 executor.failures().size(), executor.waiting());
  }

  const Options& o_;
  Recipe recipe_;
  CellStore store_;
  std::string table_;
  std::vector<GridMean> means_;
};

}  // namespace

std::function<void()> declare_run(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("recipe", o->recipe, "the recipe, a TOML file; docs/recipes.md has its keys")->required();
  app.add_option("--data", o->data, "the folder that the recipe's tasks lie in")->required();
  app.add_option("--output", o->output, "the folder of cells, libraries and results; a run goes on where it stopped")
      ->required();
  app.add_option("--model", o->model, "in place of the recipe's");
  app.add_option("--set", o->changes, "KEY=VALUE in place of the recipe's, such as train.epochs=1 (repeatable)")
      ->allow_extra_args(false);
  app.add_flag("--dry-run", o->dry_run, "print the commands that would run, and run nothing");
  app.add_flag("--json", o->json, "an object per method and group of tasks in place of the table");
  return [o] { Run(*o).all(); };
}

}  // namespace quiver::cli
