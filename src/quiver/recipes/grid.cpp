// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/grid.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/evaluation/task_metrics.h"
#include "quiver/library/library.h"

namespace quiver::recipes {
namespace {

using nlohmann::json;

/// The one number of a task, which its lines begin with: a metric that it asks for, else accuracy or exact match. What
/// adapt says of other regimes than `method` (the base model, to compare with) is passed over.
const json* headline(const std::vector<json>& lines, const std::string& method) {
  const auto is_number = [&](const json& line) {
    return line.is_object() && line.value("regime", method) == method && line.contains("value") &&
           line["value"].is_number();
  };
  for (const auto& line : lines) {
    if (is_number(line) && evaluation::is_task_metric(line.value("metric", ""))) return &line;
  }
  return nullptr;
}

/// NaN where the verb gives no interval.
double end_of(const json& line, std::size_t end) {
  const auto found = line.find("interval");
  const bool given = found != line.end() && found->is_array() && found->size() == 2 && (*found)[end].is_number();
  return given ? (*found)[end].get<double>() : std::nan("");
}

/// A score but for its value.
GridScore blank_score(const BuiltLibrary& library, const std::string& method, const std::string& group,
                      const std::string& task) {
  GridScore score;
  score.library = library.construction;
  score.method = method;
  score.group = group;
  score.task = short_name(task);
  score.experts = static_cast<std::int64_t>(library.experts.size());
  score.seed = library.seed;
  return score;
}

/// The private experts are called after their tasks: their clusters are lists of tasks.
std::vector<std::string> tasks_named(const json& names, const std::vector<std::string>& tasks) {
  std::vector<std::string> out;
  for (const auto& task : tasks) {
    if (std::find(names.begin(), names.end(), short_name(task)) != names.end()) out.push_back(task);
  }
  return out;
}

}  // namespace

void RecipeGrid::walk(const std::function<void()>& each) {
  for (const auto& route : recipe_.routes) {
    if (route.libraries.empty()) evaluate(route, {});
  }
  for (std::size_t s = 0; s < recipe_.seeds.size(); ++s) {
    for (const auto& construction : recipe_.constructions) {
      const auto library = build(construction, recipe_.seeds[s]);
      for (const auto& route : recipe_.routes) {
        const auto& names = route.libraries;
        if (std::find(names.begin(), names.end(), construction.name) != names.end()) evaluate(route, library);
      }
      for (const auto& adaptation : recipe_.adaptations) {
        if (s == 0 && adaptation.library == construction.name) adapt(adaptation, library);
      }
      each();
    }
  }
}

const BuiltLibrary& RecipeGrid::build(const Construction& c, std::int64_t seed) {
  const auto found = built_.find({c.name, seed});
  if (found != built_.end()) return found->second;
  const bool each = c.building == Building::each_task || c.building == Building::models;
  auto library = each ? build_each(c, seed) : build_joint(c, seed);
  return built_[{c.name, seed}] = std::move(library);
}

/// An expert, a router or a model for each task.
BuiltLibrary RecipeGrid::build_each(const Construction& c, std::int64_t seed) {
  auto library = empty_library(c, seed);
  const auto over = c.over.empty() ? BuiltLibrary() : build(*recipe_.construction(c.over), seed);
  if (!c.over.empty()) library.folder = over.folder;
  library.ready = over.ready;
  std::vector<std::string> names;
  Members members;
  for (const auto& task : tasks_of(recipe_, c)) {
    const auto name = library.models ? model_folder(c, seed, task) : expert_name(c, task);
    names.push_back(name);
    members.push_back({task});
    library.made_for[task] = name;
  }
  train(c, library, members, names, over);
  return library;
}

BuiltLibrary RecipeGrid::build_joint(const Construction& c, std::int64_t seed) {
  auto library = empty_library(c, seed);
  std::vector<std::string> names;
  Members members;
  if (c.building == Building::each_cluster) {
    members = cluster(c, seed, library.ready);
    for (std::size_t i = 0; i < members.size(); ++i) names.push_back(fmt::format("cluster{}", i));
  } else {
    names.push_back(c.name);
    members.push_back(recipe_.data.train);
  }
  train(c, library, members, names);
  return library;
}

void RecipeGrid::train(const Construction& c, BuiltLibrary& library, const Members& tasks,
                       const std::vector<std::string>& names, const BuiltLibrary& over) {
  std::vector<Cell> cells;
  for (std::size_t i = 0; i < names.size(); ++i) {
    cells.push_back(train_cell(recipe_, c, library, names[i], tasks[i], over));
    cells.back().ready = library.ready;
  }
  const auto results = executor_.finish(cells);
  // Skills are applied without experts; over another library, an expert is asked for by its own name.
  if (c.building != Building::skills && c.over.empty()) library.experts = names;
  std::sort(library.experts.begin(), library.experts.end());
  identify(library, names, results);
}

/// Who they are that train made.
void RecipeGrid::identify(BuiltLibrary& library, const std::vector<std::string>& names,
                          const CellExecutor::Results& results) {
  const auto folder = fs::path(store_.filled(library.folder));
  library.ready = std::all_of(results.begin(), results.end(), [](const auto& result) { return result.has_value(); });
  if (!library.ready) return;
  for (const auto& name : names) {
    library.identities[name] =
        library.models ? expert_identity(store_.filled(name), kModelFile) : expert_identity(folder, name);
  }
  if (!library.models) library.identities[kBaseModel] = library::Library::open(folder).fingerprint();
}

const BuiltLibrary& RecipeGrid::private_library(std::int64_t seed) {
  for (const auto& c : recipe_.constructions) {
    if (c.building == Building::each_task && !c.of_left_out && c.over.empty()) return build(c, seed);
  }
  Construction construction;
  construction.name = "private";
  return build(construction, seed);
}

/// The tasks of each cluster, in the recipe's order; made-up names where they are not known yet.
RecipeGrid::Members RecipeGrid::cluster(const Construction& c, std::int64_t seed, bool& ready) {
  const auto results = executor_.finish({cluster_cell(c, private_library(seed))});
  Members members;
  if (results[0]) {
    for (const auto& line : results[0]->lines) {
      if (!line.contains("clusters")) continue;
      for (const auto& names : line["clusters"]) members.push_back(tasks_named(names, recipe_.data.train));
    }
    std::erase_if(members, [](const auto& tasks) { return tasks.empty(); });
    return members;
  }
  ready = false;
  for (std::int64_t i = 0; i < c.clusters; ++i) members.push_back({fmt::format("TASKS_OF_CLUSTER_{}", i)});
  return members;
}

void RecipeGrid::evaluate(const Route& route, const BuiltLibrary& library) {
  std::vector<Cell> cells;
  std::vector<GridScore> scores;
  const bool own = library.models || route.route.find("{expert}") != std::string::npos;
  const auto add = [&](const std::vector<std::string>& tasks, const char* group) {
    for (const auto& task : tasks) {
      if (own && !library.made_for.contains(task)) continue;
      cells.push_back(evaluate_cell(recipe_, route, library, task));
      scores.push_back(blank_score(library, route.name, group, task));
    }
  };
  if (route.trained) add(recipe_.data.train, "trained");
  if (route.left_out) add(recipe_.data.left_out, "left out");
  // Its own cache is the library's derived data, which may have been dropped since: asked for whenever it is needed.
  if (!executor_.complete(cells)) {
    const auto after = cells[0].after;
    const bool ready = std::all_of(after.begin(), after.end(), [&](const auto& cell) { return prepare(cell); });
    for (auto& cell : cells) cell.ready = cell.ready && ready;
  }
  add_scores(scores, executor_.finish(cells));
}

/// Once, unless another row has left something else in its place. False where it failed.
bool RecipeGrid::prepare(const Cell& preparation) {
  auto& [command, done] = prepared_[{preparation.library, preparation.makes}];
  const auto wanted = shell_text(preparation.command);
  if (command == wanted) return done;
  command = wanted;
  return done = executor_.again(preparation);
}

void RecipeGrid::adapt(const Adaptation& adaptation, const BuiltLibrary& library) {
  std::vector<Cell> cells;
  std::vector<GridScore> scores;
  const auto add = [&](const AdaptationPoint& point) {
    cells.push_back(adapt_cell(recipe_, adaptation, library, point));
    scores.push_back(blank_score(library, point.regime, fmt::format("{} shots", point.shots), point.task));
    scores.back().seed = point.seed;
  };
  for (const auto seed : adaptation.seeds) {
    for (const auto& regime : adaptation.regimes) {
      for (const auto shots : adaptation.shots) {
        for (const auto& task : adaptation.tasks) add({regime, task, shots, seed});
      }
    }
  }
  add_scores(scores, executor_.finish(cells));
}

void RecipeGrid::add_scores(const std::vector<GridScore>& blank, const CellExecutor::Results& results) {
  for (std::size_t i = 0; i < blank.size(); ++i) {
    const auto* line = results[i] ? headline(results[i]->lines, blank[i].method) : nullptr;
    if (line == nullptr) continue;
    auto& score = scores_.emplace_back(blank[i]);
    score.metric = line->value("metric", "");
    score.value = (*line)["value"].get<double>();
    score.low = end_of(*line, 0);
    score.high = end_of(*line, 1);
    const auto count = line->find("count");
    if (count != line->end() && count->is_number()) score.count = count->get<std::int64_t>();
  }
}

}  // namespace quiver::recipes
