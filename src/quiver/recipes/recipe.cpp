// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/recipe.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/recipes/toml.h"
#include "quiver/routing/router_table.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/methods/method_options.h"
#include "quiver/workspace/prepare_routes.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::recipes {
namespace {

/// Names of the options of `Options` as they are described, but for those in `decided`, which the recipe itself
/// decides.
template <typename Options>
std::vector<std::string> described(const std::vector<std::string>& decided) {
  Options options;
  OptionSet set;
  describe(options, set);
  auto out = set.names();
  std::erase_if(out,
                [&](const auto& name) { return std::find(decided.begin(), decided.end(), name) != decided.end(); });
  return out;
}

std::vector<std::string> train_keys() {
  auto out = training::options_of_groups({"optimisation", "lora", "kinds"});
  std::erase(out, "seed");
  out.push_back("method");
  return out;
}
std::vector<std::string> text_keys() { return described<workspace::JoinChoice>({}); }
std::vector<std::string> evaluate_keys() { return described<evaluation::EvaluateOptions>({"split", "limit"}); }
std::vector<std::string> adapt_keys() { return described<training::AdaptOptions>({}); }
const std::vector<std::string> kClusterKeys{"embedding", "sparsity"};
const std::vector<std::string> kMachineKeys{"threads", "device"};

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

Settings read_settings(TableReader& table, const char* key, const std::vector<std::string>& keys) {
  auto below = table.table(key);
  auto settings = below.settings(keys);
  below.finish();
  return settings;
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
  c.train = read_settings(table, "train", train_keys());
  c.arguments = table.texts("arguments");
  if (c.building == Building::skills && c.arguments.empty()) table.refuse("arguments", "is missing: how many skills");
  if (c.building == Building::each_cluster) {
    c.method = kind;
    c.clusters = table.count("clusters", 0);
    if (c.clusters < 1) table.refuse("clusters", "is missing: how many");
    c.cluster = table.settings(kClusterKeys);
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

/// Trained routers that will be there: skills, and those that a command names.
std::vector<std::string> routers_of(const Recipe& recipe, const Route& route) {
  std::vector<std::string> out;
  const auto add_named = [&](const Arguments& arguments) {
    for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
      if (arguments[i] == "--name") out.push_back(arguments[i + 1]);
    }
  };
  for (const auto& c : recipe.constructions) {
    if (c.building == Building::skills) out.push_back(c.name);
    add_named(c.arguments);
  }
  add_named(route.prepare_arguments);
  return out;
}

/// Throws where the route, or its preparation, is not one that this program has: before hours of training.
void check_form(const TableReader& table, const Recipe& recipe, const Route& route) {
  auto text = route.route;
  replace_all(text, "{expert}", "EXPERT");
  try {
    const auto spec = routing::parse_route(text);
    routing::check_route(spec, routers_of(recipe, route));
    if (route.prepare) workspace::check_preparation(spec);
  } catch (const Error& error) {
    table.refuse(table.has("route") ? "route" : "name", error.what());
  }
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
  check_form(table, recipe, r);
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
  a.options = read_settings(table, "options", adapt_keys());
  a.arguments = table.texts("arguments");
  table.finish();
  return a;
}

void read_grid(TableReader& table, Recipe& recipe) {
  for (auto& c : table.tables("construction")) {
    recipe.constructions.push_back(read_construction(c, recipe));
    const auto& name = recipe.constructions.back().name;
    if (recipe.construction(name) != &recipe.constructions.back()) c.refuse("name", "there are two '" + name + "'");
  }
  for (auto& r : table.tables("route")) recipe.routes.push_back(read_route(r, recipe));
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
  recipe.precision = table.settings({"dtype"});
  recipe.machine = table.settings(kMachineKeys);
  recipe.data = read_data(table.table("data"));
  recipe.train = read_settings(table, "train", train_keys());
  recipe.text = read_settings(table, "text", text_keys());
  recipe.evaluate = read_settings(table, "evaluate", evaluate_keys());
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
  for (const auto& [key, values] : settings) {
    auto name = "--" + key;
    std::replace(name.begin(), name.end(), '_', '-');
    out.push_back(name);
    if (!values.empty()) out.push_back(join(values, ","));
  }
  return out;
}

Settings merged(Settings settings, const Settings& over) {
  for (const auto& [key, values] : over) settings[key] = values;
  return settings;
}

}  // namespace quiver::recipes
