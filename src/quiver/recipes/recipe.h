// SPDX-License-Identifier: Apache-2.0
// A recipe: an experiment grid as a TOML file, read with toml++ (CLI11's reader loses types, line numbers and the
// borders between [[tables]], and skips what it does not understand).
//
// Libraries ([[construction]]) by routes ([[route]]) and few-shot regimes ([[adapt]]), over tasks and seeds.
// docs/recipes.md has the keys. An unknown key is an error with the nearest name; every error names the file and the
// line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quiver/base/files.h"

namespace quiver::recipes {

using Arguments = std::vector<std::string>;
/// The value of a verb's option, as it is typed.
struct Setting {
  std::string value;
  bool flag = false;  ///< then `value` is true or false
};
/// Options of a verb by their long names with '_' for '-'.
using Settings = std::map<std::string, Setting>;

/// How a library comes about.
enum class Building {
  each_task,     ///< private: an expert per task
  all_tasks,     ///< shared: one expert that learns all tasks
  each_cluster,  ///< mbc, agglomerative, random: an expert per cluster of the private experts' tasks
  skills,        ///< Poly and MHR: skills and a selector over all tasks, by one call of train as `arguments` say
  models,        ///< full: a model per task, every weight trained
};

struct Construction {
  std::string name;
  Building building = Building::each_task;
  bool of_left_out = false;   ///< learns the left-out tasks, not those of `train`
  std::string over;           ///< each_task: an earlier construction, into whose library the experts go; may be empty
  std::int64_t rows = 0;      ///< of a task, in place of the recipe's; 0: the recipe's
  std::string method;         ///< each_cluster: of `quiver cluster`
  std::int64_t clusters = 0;  ///< each_cluster: how many
  Settings train;             ///< beside the recipe's
  Settings cluster;
  Arguments arguments;  ///< of train, as they are but for {over}, the other library, and {experts}, its experts
};

struct Route {
  std::string name, route;             ///< {expert} in the route: the one that was made for the task at hand
  std::string prepare_route;           ///< as prepare is told it; the route itself where nothing else is said
  std::vector<std::string> libraries;  ///< constructions; empty: the base model alone
  bool trained = true, left_out = true;
  bool prepare = false;
  Arguments arguments, prepare_arguments;  ///< of evaluate and of prepare, as they are
};

struct Adaptation {
  std::string library;  ///< a construction
  std::vector<std::string> regimes, tasks;
  std::vector<std::int64_t> shots, seeds;
  Settings options;  ///< of the verb; the recipe's [train] is not read
  Arguments arguments;
};

struct RecipeData {
  std::vector<std::string> train, left_out;                   ///< paths below the data folder, without .jsonl
  std::int64_t rows = 0, validation_rows = 0;                 ///< of a task, for its own expert; 0: all
  std::int64_t rows_per_task = 0, joint_validation_rows = 0;  ///< of each task, for experts of several; 0: all
  std::int64_t test_rows = 0;                                 ///< of a task; 0: all
};

struct Recipe {
  std::string name, title, source, model = "smollm2";
  std::vector<std::int64_t> seeds{1};
  RecipeData data;
  Settings train, text, evaluate;  ///< `text`: how source and target are joined, for train, evaluate and adapt alike
  Settings precision;              ///< dtype
  Settings machine;                ///< threads, device: no part of what a result depends on
  std::vector<Construction> constructions;
  std::vector<Route> routes;
  std::vector<Adaptation> adaptations;

  const Construction* construction(const std::string& name) const;
};

/// `changes` are KEY=VALUE with dotted keys (`train.epochs=1`, `seeds=[1]`) and win over the file. Throws Error{usage}
/// where a name is unknown, Error{format} where the file is not such a recipe.
Recipe read_recipe(const fs::path& file, const std::vector<std::string>& changes);

/// The last part of a task's path: its column in tables.
std::string short_name(const std::string& task);
/// `--rank 4 --clip 1`, in the order of the names; nothing of a flag that is off.
Arguments arguments_of(const Settings& settings);
/// What follows an option, `--name X` or `--name=X`; nullopt where it is not among the words.
std::optional<std::string> value_of(const Arguments& words, const std::string& option);
/// `over` wins.
Settings merged(Settings settings, const Settings& over);

}  // namespace quiver::recipes
