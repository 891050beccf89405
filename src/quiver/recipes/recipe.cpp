// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/recipe.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/options.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/mbc.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/recipes/preparations.h"
#include "quiver/recipes/toml.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/methods/table.h"
#include "quiver/workspace/open_model.h"
#include "quiver/workspace/prepare_routes.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::recipes {
namespace {

/// Names without those that the recipe itself decides.
std::vector<std::string> but(std::vector<std::string> names, const std::vector<std::string>& decided) {
  std::erase_if(names, [&](const auto& n) { return std::find(decided.begin(), decided.end(), n) != decided.end(); });
  return names;
}

std::vector<std::string> method_names() {
  std::vector<std::string> out;
  for (const auto& method : training::method_table()) out.push_back(method.name);
  return out;
}

const std::map<std::string, Building> kBuildings{
    {"private", Building::each_task}, {"shared", Building::all_tasks},           {"skills", Building::skills},
    {"mbc", Building::each_cluster},  {"agglomerative", Building::each_cluster}, {"random", Building::each_cluster},
    {"full", Building::models}};

template <typename Map>
std::vector<std::string> names_of(const Map& map) {
  std::vector<std::string> out;
  for (const auto& entry : map) out.push_back(entry.first);
  return out;
}

/// Names become folders.
void check_name(const TableReader& table, const std::string& name) {
  const bool plain = !name.empty() && name.size() <= 64 && name[0] != '.' &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '+';
                     });
  if (!plain) table.refuse("name", "expected letters, digits, '.', '_', '+' and '-', got '" + name + "'");
}

/// The table `key`: options that `set` describes, but for those in `decided`.
Settings read_settings(TableReader& table, const char* key, OptionSet& set,
                       const std::vector<std::string>& decided = {}) {
  auto below = table.table(key);
  auto settings = below.settings(set, but(set.names(), decided));
  below.finish();
  return settings;
}

template <typename Options>
Settings read_described(TableReader& table, const char* key, const std::vector<std::string>& decided = {}) {
  Options options;
  OptionSet set;
  describe(options, set);
  return read_settings(table, key, set, decided);
}

Settings read_train(TableReader& table) {
  training::MethodOptions options;
  OptionSet set;
  describe(options, set);
  auto decided = but(set.names(), training::options_of_groups({"optimisation", "lora", "kinds"}));
  decided.push_back("seed");
  set.choice("method", options.method, method_names(), "what is trained");
  return read_settings(table, "train", set, decided);
}

/// How the experts are clustered, beside the method and the number.
Settings read_cluster(TableReader& table, const std::string& method) {
  clustering::MbcOptions options;
  OptionSet set;
  describe(options, set);
  set.assign("method", method, "kind");
  auto settings = table.settings(set, {"embedding", "sparsity", "linkage"});
  const auto read = clustering::read_options(options);
  for (const auto& [key, value] : settings) {
    if (std::find(read.begin(), read.end(), key) == read.end())
      table.refuse(key, "is not read by " + method + " with the embedding " + set.find("embedding")->text());
  }
  return settings;
}

void read_machine(TableReader& table, Recipe& recipe) {
  workspace::ModelOptions options;
  OptionSet set;
  set.choice("dtype", options.dtype, {"auto", "float32", "bfloat16"}, "of the base model")
      .text("device", options.device, "that computes")
      .integer("threads", options.threads, at_least(0), "of computation; 0: one per core");
  recipe.precision = table.settings(set, {"dtype"});
  recipe.machine = table.settings(set, {"threads", "device"});
}

RecipeData read_data(TableReader table) {
  RecipeData data;
  data.train = table.texts("train");
  data.left_out = table.texts("left_out");
  data.rows = table.count("rows", 0);
  data.validation_rows = table.count("validation_rows", 0);
  data.rows_per_task = table.count("rows_per_task", 0);
  data.joint_validation_rows = table.count("joint_validation_rows", data.validation_rows);
  data.test_rows = table.count("test_rows", 0);
  std::set<std::string> seen;
  for (const auto* list : {&data.train, &data.left_out}) {
    const auto* key = list == &data.train ? "train" : "left_out";
    for (const auto& task : *list) {
      if (fs::path(task).is_absolute()) table.refuse(key, "expected paths below the data folder, got '" + task + "'");
      if (!seen.insert(short_name(task)).second) table.refuse(key, "names '" + short_name(task) + "' twice");
    }
  }
  table.finish();
  return data;
}

/// What tasks it learns, how many of their rows, and what it builds on.
void read_scope(TableReader& table, const Recipe& recipe, Construction& c) {
  const auto tasks = table.text("tasks", "trained");
  if (tasks != "trained" && tasks != "left_out") {
    table.refuse("tasks", "expected trained or left_out, got '" + tasks + "'");
  }
  c.of_left_out = tasks == "left_out";
  if (c.of_left_out && c.building != Building::each_task && c.building != Building::models) {
    table.refuse("tasks", "left_out goes with the kinds private and full");
  }
  c.rows = table.count("rows", 0);
  c.over = table.text("over");
  if (c.over.empty()) return;
  const auto* other = recipe.construction(c.over);
  if (c.building != Building::each_task) table.refuse("over", "goes with the kind private");
  if (other == nullptr || other->building == Building::models) {
    table.refuse("over", "names no library built before: '" + c.over + "'");
  }
}

Construction read_construction(TableReader table, const Recipe& recipe) {
  Construction c;
  c.name = table.required_text("name");
  check_name(table, c.name);
  const auto kind = table.text("kind", c.name);
  const auto found = kBuildings.find(kind);
  if (found == kBuildings.end()) {
    table.refuse(table.has("kind") ? "kind" : "name",
                 "is no kind of library: '" + kind + "'" + suggestion(kind, names_of(kBuildings)));
  }
  c.building = found->second;
  read_scope(table, recipe, c);
  c.train = read_train(table);
  c.arguments = table.texts("arguments");
  if (c.building == Building::skills && c.arguments.empty()) table.refuse("arguments", "is missing: how many skills");
  if (c.building == Building::each_cluster) {
    c.method = kind;
    c.clusters = table.count("clusters", 0);
    if (c.clusters < 1) table.refuse("clusters", "is missing: how many");
    c.cluster = read_cluster(table, kind);
  }
  table.finish();
  return c;
}

/// Throws where a name is not that of a construction.
void check_libraries(const TableReader& table, const char* key, const std::vector<std::string>& names,
                     const Recipe& recipe) {
  std::vector<std::string> known;
  for (const auto& c : recipe.constructions) known.push_back(c.name);
  for (const auto& name : names) {
    if (recipe.construction(name) == nullptr) {
      table.refuse(key, "names no [[construction]]: '" + name + "'" + suggestion(name, known));
    }
  }
}

/// Throws where the route, or its preparation, is not one that this program has, or asks a library for what nothing
/// leaves there: before hours of training.
void check_route(const TableReader& table, const Recipe& recipe, const Route& route) {
  const auto checked = [&](const char* key, const auto& check) {
    try {
      check();
    } catch (const Error& error) {
      table.refuse(table.has(key) ? key : "name", error.what());
    }
  };
  checked("route", [&] { check_routers(recipe, route); });
  if (!route.prepare) return;
  checked(table.has("prepare_route") ? "prepare_route" : "route",
          [&] { workspace::check_preparation(routing::parse_route(route.prepare_route)); });
}

/// True where both would stand in one row of one table.
bool one_row(const Route& a, const Route& b) {
  const bool library = a.libraries.empty()
                           ? b.libraries.empty()
                           : std::any_of(a.libraries.begin(), a.libraries.end(), [&](const auto& name) {
                               return std::find(b.libraries.begin(), b.libraries.end(), name) != b.libraries.end();
                             });
  return a.name == b.name && library && ((a.trained && b.trained) || (a.left_out && b.left_out));
}

Route read_route(TableReader table, const Recipe& recipe) {
  Route r;
  r.name = table.required_text("name");
  r.route = table.text("route", r.name);
  r.libraries = table.texts("for");
  check_libraries(table, "for", r.libraries, recipe);
  const bool models =
      !r.libraries.empty() && std::all_of(r.libraries.begin(), r.libraries.end(), [&](const auto& name) {
        return recipe.construction(name)->building == Building::models;
      });
  if (r.route == "base" && !r.libraries.empty() && !models) {
    table.refuse("for", "the base model is applied without a library");
  }
  if (r.route != "base" && models) table.refuse("route", "of whole models: expected base, got '" + r.route + "'");
  if (r.route != "base" && r.libraries.empty()) table.refuse("for", "is missing: the libraries to apply it to");
  const auto tasks = table.text("tasks", "all");
  if (tasks != "all" && tasks != "trained" && tasks != "left_out") {
    table.refuse("tasks", "expected all, trained or left_out, got '" + tasks + "'");
  }
  r.trained = tasks != "left_out";
  r.left_out = tasks != "trained";
  r.prepare = table.flag("prepare", false);
  r.arguments = table.texts("arguments");
  r.prepare_arguments = table.texts("prepare_arguments");
  r.prepare_route = table.text("prepare_route", r.route);
  for (const auto* key : {"prepare_route", "prepare_arguments"}) {
    if (table.has(key) && !r.prepare) table.refuse(key, "goes with prepare = true");
  }
  for (const auto& other : recipe.routes) {
    if (one_row(r, other)) table.refuse("name", "there are two '" + r.name + "' over the same library; name one anew");
  }
  table.finish();
  return r;
}

Adaptation read_adaptation(TableReader table, const Recipe& recipe) {
  Adaptation a;
  a.library = table.required_text("from");
  check_libraries(table, "from", {a.library}, recipe);
  a.regimes = table.texts("regimes");
  if (a.regimes.empty()) table.refuse("regimes", "is missing: what is adapted, and how");
  a.shots = table.counts("shots", {16});
  a.seeds = table.counts("seeds", recipe.seeds);
  a.tasks = table.has("tasks") ? table.texts("tasks") : recipe.data.left_out;
  training::AdaptOptions options;
  OptionSet set;
  describe(options, set);
  a.options = read_settings(table, "options", set);
  try {
    training::check_regimes(a.regimes, set);
  } catch (const Error& error) {
    table.refuse(a.options.empty() ? "regimes" : "options", error.what());
  }
  a.arguments = table.texts("arguments");
  try {
    check_skills(recipe, a);
  } catch (const Error& error) {
    table.refuse(a.options.contains("skills") ? "options" : "regimes", error.what());
  }
  table.finish();
  return a;
}

void read_grid(TableReader& table, Recipe& recipe) {
  for (auto& c : table.tables("construction")) {
    recipe.constructions.push_back(read_construction(c, recipe));
    const auto& name = recipe.constructions.back().name;
    if (recipe.construction(name) != &recipe.constructions.back()) c.refuse("name", "there are two '" + name + "'");
  }
  auto routes = table.tables("route");
  for (auto& r : routes) recipe.routes.push_back(read_route(r, recipe));
  // A row may apply what another prepares.
  for (std::size_t i = 0; i < routes.size(); ++i) check_route(routes[i], recipe, recipe.routes[i]);
  for (auto& a : table.tables("adapt")) recipe.adaptations.push_back(read_adaptation(a, recipe));
}

}  // namespace

const Construction* Recipe::construction(const std::string& wanted) const {
  const auto found =
      std::find_if(constructions.begin(), constructions.end(), [&](const Construction& c) { return c.name == wanted; });
  return found == constructions.end() ? nullptr : &*found;
}

Recipe read_recipe(const fs::path& file, const std::vector<std::string>& changes) {
  const auto parsed = read_toml(file, changes);
  TableReader table(parsed);
  Recipe recipe;
  recipe.name = table.text("name", file.stem().string());
  recipe.title = table.text("title", recipe.name);
  recipe.source = table.text("source");
  recipe.model = table.text("model", recipe.model);
  recipe.seeds = table.counts("seeds", recipe.seeds);
  read_machine(table, recipe);
  recipe.data = read_data(table.table("data"));
  recipe.train = read_train(table);
  recipe.text = read_described<workspace::JoinChoice>(table, "text");
  recipe.evaluate = read_described<evaluation::EvaluateOptions>(table, "evaluate", {"split", "limit"});
  read_grid(table, recipe);
  table.finish();
  QUIVER_CHECK(!recipe.routes.empty() || !recipe.adaptations.empty(), usage, file.string(),
               "nothing to do: expected a [[route]] or an [[adapt]]");
  QUIVER_CHECK(!recipe.data.train.empty() || recipe.constructions.empty(), usage, file.string(),
               "[data] train is empty: nothing to learn from");
  return recipe;
}

std::string short_name(const std::string& task) { return fs::path(task).filename().string(); }

Arguments arguments_of(const Settings& settings) {
  Arguments out;
  for (const auto& [key, setting] : settings) {
    if (setting.flag && setting.value == "false") continue;
    out.push_back(command_line_name(key));
    if (!setting.flag) out.push_back(setting.value);
  }
  return out;
}

std::optional<std::string> value_of(const Arguments& words, const std::string& option) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == option && i + 1 < words.size()) return words[i + 1];
    if (words[i].starts_with(option + "=")) return words[i].substr(option.size() + 1);
  }
  return std::nullopt;
}

Settings merged(Settings settings, const Settings& over) {
  for (const auto& [key, setting] : over) settings[key] = setting;
  return settings;
}

}  // namespace quiver::recipes
