// SPDX-License-Identifier: Apache-2.0
// quiver run: a recipe's grid of experiments, every cell kept by what it depends on.
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/recipes/run.h"

namespace quiver::cli {
namespace {

struct Options {
  recipes::RunOptions run;
  bool json = false;
};

/// On standard error what runs, on standard output what would.
const recipes::CellOutput kOutput{[](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); },
                                  [](const std::string& line) { std::printf("%s\n", line.c_str()); }};

void print(const Options& o, const recipes::RunResult& result) {
  if (!o.json) std::printf("%s", result.table.c_str());
  for (const auto& mean : result.means) {
    if (o.json) print_json(to_json(mean));
  }
  for (const auto& f : result.failures)
    std::fprintf(stderr, "failed: %s\n  %s\n  %s\n", f.label.c_str(), f.error.c_str(), f.command.c_str());
  std::fprintf(stderr, "%s: %lld commands run; %s/results.md, results.json, commands.txt\n", result.name.c_str(),
               static_cast<long long>(result.ran), o.run.output.c_str());
  QUIVER_CHECK(result.failures.empty(), io, "run " + result.name,
               "{} cells failed, and {} wait for them; the same command tries these again", result.failures.size(),
               result.waiting);
}

}  // namespace

std::function<void()> declare_run(CLI::App& app) {
  auto o = std::make_shared<Options>();
  auto& run = o->run;
  app.add_option("recipe", run.recipe, "the recipe, a TOML file; docs/recipes.md has its keys")->required();
  app.add_option("--data", run.data, "the folder that the recipe's tasks lie in")->required();
  app.add_option("--output", run.output, "the folder of cells, libraries and results; a run goes on where it stopped")
      ->required();
  app.add_option("--model", run.model, "in place of the recipe's");
  app.add_option("--set", run.changes, "KEY=VALUE in place of the recipe's, such as train.epochs=1 (repeatable)")
      ->allow_extra_args(false);
  app.add_flag("--dry-run", run.dry_run, "print the commands that would run, and run nothing");
  app.add_flag("--json", o->json, "an object per method and group of tasks in place of the table");
  return [o] {
    const auto result = recipes::run_recipe(o->run, kOutput);
    if (!o->run.dry_run) print(*o, result);
  };
}

}  // namespace quiver::cli
