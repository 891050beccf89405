// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/plan.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/options.h"
#include "quiver/base/strings.h"
#include "quiver/recipes/preparations.h"
#include "quiver/routing/router_table.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/methods/table.h"
#include "quiver/workspace/prepare_routes.h"

namespace quiver::recipes {
namespace {

void add(Arguments& to, const Arguments& more) { to.insert(to.end(), more.begin(), more.end()); }

/// No option where the number is 0: all rows.
void add_limit(Arguments& to, const char* option, std::int64_t rows) {
  if (rows > 0) add(to, {option, std::to_string(rows)});
}

/// A verb on the recipe's model, or on one that was trained.
Arguments on_model(const char* verb, const Recipe& recipe, const Arguments& more, const std::string& model = "") {
  Arguments out{verb, "--model", model.empty() ? recipe.model : model};
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

/// What stands for one task alone: its expert or router, or its model.
void add_one(Cell& cell, const BuiltLibrary& library, const std::string& maker) {
  for (const auto& who : {maker, std::string(kBaseModel)}) {
    const auto found = library.identities.find(who);
    if (found != library.identities.end()) cell.identities.insert(*found);
  }
  cell.ready = library.ready;
}

std::string label_of(const BuiltLibrary& library) {
  return library.folder.empty() ? "" : fmt::format("{}, seed {}, ", library.construction, library.seed);
}

/// The values of an option among a construction's settings and arguments; empty where it is not given.
std::string given(const Settings& settings, const Arguments& arguments, const std::string& key) {
  if (const auto said = value_of(arguments, command_line_name(key))) return *said;
  const auto set = settings.find(key);
  return set != settings.end() ? set->second.value : "";
}

/// The recipe's [train] is for all constructions: each takes of it what its method reads. What a construction says for
/// itself is taken as it is.
Settings train_settings(const Recipe& recipe, const Construction& c) {
  const auto all = merged(recipe.train, c.train);
  training::MethodOptions options;
  options.method = train_method(recipe, c);
  const auto kinds = given(all, c.arguments, "kind");
  if (!kinds.empty()) options.kinds = split(kinds, ',');
  options.init_from = given(all, c.arguments, "init_from");
  const auto reads = training::options_read(options);
  Settings out;
  for (const auto& [key, value] : all) {
    // Skills have a rate of their own.
    const bool of_others = key == "learning_rate" && options.method == "poly";
    const bool read = std::find(reads.begin(), reads.end(), key) != reads.end(), own = c.train.contains(key);
    QUIVER_CHECK(read || !own, usage, "[[construction]] " + c.name, "'{}' of its train is not read by --method {}{}",
                 key, options.method, kinds.empty() ? "" : " --kind " + kinds);
    if (own || (read && !of_others)) out[key] = value;
  }
  return out;
}

}  // namespace

const std::vector<std::string>& tasks_of(const Recipe& recipe, const Construction& c) {
  return c.of_left_out ? recipe.data.left_out : recipe.data.train;
}

std::string expert_name(const Construction& c, const std::string& task) {
  return c.over.empty() ? short_name(task) : c.name + "." + short_name(task);
}

std::string train_method(const Recipe& recipe, const Construction& c) {
  if (c.building == Building::models) return "full";
  const auto method = given(merged(recipe.train, c.train), c.arguments, "method");
  return method.empty() ? "lora" : method;
}

BuiltLibrary empty_library(const Construction& construction, std::int64_t seed) {
  BuiltLibrary library;
  library.construction = construction.name;
  library.folder = fmt::format("{{output}}/libraries/{}-seed{}", construction.name, seed);
  library.seed = seed;
  library.models = construction.building == Building::models;
  return library;
}

std::string model_folder(const Construction& construction, std::int64_t seed, const std::string& task) {
  return fmt::format("{{output}}/models/{}-seed{}/{}", construction.name, seed, short_name(task));
}

Cell train_cell(const Recipe& recipe, const Construction& c, const BuiltLibrary& into, const std::string& name,
                const std::vector<std::string>& tasks, const BuiltLibrary& over) {
  const bool alone = c.building == Building::each_task || c.building == Building::models;
  const auto& data = recipe.data;
  const bool whole = c.building == Building::models;
  Cell cell;
  cell.label = fmt::format("train {}{}", label_of(into), short_name(name));
  cell.command = whole ? on_model("train", recipe, {"--method", "full", "--output", name, "--replace"})
                       : on_model("train", recipe, {"--library", into.folder, "--replace", "--name", name});
  add_limit(cell.command, "--limit", c.rows > 0 ? c.rows : alone ? data.rows : data.rows_per_task);
  add_limit(cell.command, "--validation-limit", alone ? data.validation_rows : data.joint_validation_rows);
  add(cell.command, arguments_of(train_settings(recipe, c)));
  add(cell.command, arguments_of(recipe.text));
  add(cell.command, {"--seed", std::to_string(into.seed)});
  for (auto argument : c.arguments) {
    replace_all(argument, "{over}", over.folder);
    replace_all(argument, "{experts}", join(over.experts, ","));
    cell.command.push_back(std::move(argument));
  }
  cell.tasks = tasks;
  cell.identities = over.identities;
  cell.library = whole ? name : into.folder;
  cell.makes = whole ? kModelFile : name;
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
  // Linkage draws nothing.
  if (c.method != "agglomerative") add(cell.command, {"--seed", std::to_string(experts.seed)});
  return cell;
}

Cell prepare_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library) {
  Cell cell;
  cell.label = fmt::format("prepare {}{}", label_of(library), route.name);
  cell.command = on_model("prepare", recipe, {"--route", route.prepare_route});
  add_library(cell, library);
  cell.library = library.folder;
  cell.makes = kept_by(route);
  const auto* help = workspace::preparation_help(routing::parse_route(route.prepare_route).name);
  const auto reads = [&](const char* option) {
    return help && std::find(help->reads.begin(), help->reads.end(), option) != help->reads.end();
  };
  if (help && help->joins()) add(cell.command, arguments_of(recipe.text));
  if (reads("seed")) add(cell.command, {"--seed", std::to_string(library.seed)});
  add(cell.command, route.prepare_arguments);
  if (help) cell.tasks = recipe.data.train;
  return cell;
}

Cell evaluate_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library, const std::string& task) {
  Cell cell;
  cell.label = fmt::format("evaluate {}{}, {}", label_of(library), route.name, short_name(task));
  const auto made = library.made_for.find(task);
  const auto maker = made == library.made_for.end() ? "" : made->second;
  auto name = route.route;
  if (library.models) {
    cell.command = on_model("evaluate", recipe, {"--route", name}, maker);
    add_one(cell, library, maker);
  } else if (replace_all(name, "{expert}", maker)) {
    cell.command = on_model("evaluate", recipe, {"--route", name, "--library", library.folder});
    add_one(cell, library, maker);
  } else {
    cell.command = on_model("evaluate", recipe, {"--route", name});
    add_library(cell, library);
  }
  add_limit(cell.command, "--limit", recipe.data.test_rows);
  add(cell.command, arguments_of(recipe.text));
  add(cell.command, arguments_of(recipe.evaluate));
  add(cell.command, route.arguments);
  cell.tasks = {task};
  if (route.libraries.empty()) return cell;
  for (const auto* row : preparations_of(recipe, route, library.construction))
    cell.after.push_back(prepare_cell(recipe, *row, library));
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
  // The options are for all regimes of the adaptation: each takes of them what it reads.
  auto options = adaptation.options;
  const auto reads = training::options_of_regime(point.regime);
  std::erase_if(options, [&](const auto& o) { return std::find(reads.begin(), reads.end(), o.first) == reads.end(); });
  add(cell.command, arguments_of(options));
  add(cell.command, arguments_of(recipe.text));
  auto evaluate = recipe.evaluate;
  evaluate.erase("seed");  // the adaptation's own
  add(cell.command, arguments_of(evaluate));
  add(cell.command, {"--seeds", "1", "--seed", std::to_string(point.seed)});
  add(cell.command, adaptation.arguments);
  cell.tasks = {point.task};
  return cell;
}

}  // namespace quiver::recipes
