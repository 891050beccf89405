// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/recipe_plan.h"

#include "quiver/base/strings.h"

namespace quiver::cli {
namespace {

void add(Arguments& to, const Arguments& more) { to.insert(to.end(), more.begin(), more.end()); }

/// No option where the number is 0: all rows.
void add_limit(Arguments& to, const char* option, std::int64_t rows) {
  if (rows > 0) add(to, {option, std::to_string(rows)});
}

/// A verb on the recipe's model.
Arguments on_model(const char* verb, const Recipe& recipe, const Arguments& more) {
  Arguments out{verb, "--model", recipe.model};
  add(out, arguments_of(recipe.precision));
  add(out, more);
  return out;
}

/// The experts are named: the folder may hold others, of an earlier recipe.
void add_library(Cell& cell, const BuiltLibrary& library) {
  if (library.folder.empty()) return;
  add(cell.command, {"--library", library.folder});
  if (!library.experts.empty()) add(cell.command, {"--experts", join(library.experts, ",")});
  cell.identities = library.identities;
  cell.ready = library.ready;
}

std::string label_of(const BuiltLibrary& library) {
  return library.folder.empty() ? "" : fmt::format("{}, seed {}, ", library.construction, library.seed);
}

}  // namespace

BuiltLibrary empty_library(const Construction& construction, std::int64_t seed) {
  BuiltLibrary library;
  library.construction = construction.name;
  library.folder = fmt::format("{{output}}/libraries/{}-seed{}", construction.name, seed);
  library.seed = seed;
  return library;
}

Cell train_cell(const Recipe& recipe, const Construction& c, const BuiltLibrary& into, const std::string& name,
                const std::vector<std::string>& tasks) {
  const bool alone = c.building == Building::each_task;
  const auto& data = recipe.data;
  Cell cell;
  cell.label = fmt::format("train {}{}", label_of(into), name);
  cell.command = on_model("train", recipe, {"--library", into.folder, "--replace", "--name", name});
  add_limit(cell.command, "--limit", alone ? data.rows : data.rows_per_task);
  add_limit(cell.command, "--validation-limit", alone ? data.validation_rows : data.joint_validation_rows);
  add(cell.command, arguments_of(merged(recipe.train, c.train)));
  add(cell.command, arguments_of(recipe.text));
  add(cell.command, {"--seed", std::to_string(into.seed)});
  add(cell.command, c.arguments);
  cell.tasks = tasks;
  cell.library = into.folder;
  cell.makes = name;
  return cell;
}

Cell cluster_cell(const Construction& c, const BuiltLibrary& experts) {
  Cell cell;
  cell.label = fmt::format("cluster {}, seed {}", c.name, experts.seed);
  cell.command = {"cluster"};
  add_library(cell, experts);
  // mbc is the verb's own way, and the only one that has no need to be named.
  if (c.method != "mbc") add(cell.command, {"--method", c.method});
  add(cell.command, {"--clusters", std::to_string(c.clusters)});
  add(cell.command, arguments_of(c.cluster));
  add(cell.command, {"--seed", std::to_string(experts.seed)});
  return cell;
}

Cell prepare_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library) {
  Cell cell;
  cell.label = fmt::format("prepare {}{}", label_of(library), route.name);
  cell.command = on_model("prepare", recipe, {"--route", route.route});
  add_library(cell, library);
  add(cell.command, arguments_of(recipe.text));
  add(cell.command, {"--seed", std::to_string(library.seed)});
  add(cell.command, route.prepare_arguments);
  cell.tasks = recipe.data.train;
  return cell;
}

Cell evaluate_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library, const std::string& task) {
  Cell cell;
  cell.label = fmt::format("evaluate {}{}, {}", label_of(library), route.name, short_name(task));
  cell.command = on_model("evaluate", recipe, {"--route", route.route});
  add_library(cell, library);
  add_limit(cell.command, "--limit", recipe.data.test_rows);
  add(cell.command, arguments_of(recipe.text));
  add(cell.command, arguments_of(recipe.evaluate));
  add(cell.command, route.arguments);
  cell.tasks = {task};
  return cell;
}

Cell adapt_cell(const Recipe& recipe, const Adaptation& adaptation, const BuiltLibrary& library,
                const AdaptationPoint& point) {
  Cell cell;
  cell.label = fmt::format("adapt {}{}, {} shots, {}, seed {}", label_of(library), point.regime, point.shots,
                           short_name(point.task), point.seed);
  cell.command = on_model("adapt", recipe, {"--regime", point.regime, "--shots", std::to_string(point.shots)});
  add_library(cell, library);
  add_limit(cell.command, "--limit", recipe.data.test_rows);
  add(cell.command, arguments_of(adaptation.options));
  add(cell.command, arguments_of(recipe.text));
  auto evaluate = recipe.evaluate;
  evaluate.erase("seed");  // the adaptation's own
  add(cell.command, arguments_of(evaluate));
  add(cell.command, {"--seeds", "1", "--seed", std::to_string(point.seed)});
  add(cell.command, adaptation.arguments);
  cell.tasks = {point.task};
  return cell;
}

}  // namespace quiver::cli
