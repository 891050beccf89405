// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/table.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/strings.h"
#include "quiver/base/version.h"

namespace quiver::recipes {
namespace {

constexpr std::size_t kColumns = 8;  // tasks that fit beside each other

/// A line of the table: a method on a library.
struct Method {
  std::string library, name;
  std::int64_t experts = 0;
  bool operator==(const Method& other) const { return library == other.library && name == other.name; }
};

template <typename T>
void add_new(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

/// Scores, and what they are about in the order that it first came.
struct Sorted {
  std::vector<Method> methods;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> tasks;  ///< by group

  explicit Sorted(const std::vector<GridScore>& scores) {
    for (const auto& s : scores) {
      add_new(methods, {s.library, s.method, s.experts});
      add_new(groups, s.group);
      add_new(tasks[s.group], s.task);
    }
  }
};

std::vector<Score> select(const std::vector<GridScore>& scores, const Method& method, const std::string& group,
                          const std::string& task = "") {
  std::vector<Score> out;
  for (const auto& s : scores) {
    if (!(Method{s.library, s.method} == method) || s.group != group || (!task.empty() && s.task != task)) continue;
    out.push_back({s.task, s.seed, s.value, s.low, s.high});
  }
  return out;
}

std::string title_of(const Method& method) {
  return method.library.empty() ? method.name : method.library + ", " + method.name;
}

std::string row_of(const std::vector<std::string>& cells) { return "| " + join(cells, " | ") + " |\n"; }

/// The first `left` columns are text, the others numbers.
std::string header_of(const std::vector<std::string>& cells, std::size_t left) {
  std::string out = row_of(cells) + "|";
  for (std::size_t i = 0; i < cells.size(); ++i) out += i < left ? "---|" : "--:|";
  return out + "\n";
}

std::string percent(double value) { return fmt::format("{:.1f}", 100 * value); }

/// Mean, standard error and interval where they are known; fewer tasks than the group has are said.
std::string text_of(const Estimate& e, std::size_t tasks, bool best) {
  const std::string strong = best ? "**" : "";
  auto out = strong + percent(e.mean) + strong;
  if (std::isfinite(e.standard_error)) {
    out += fmt::format(" ± {} [{}, {}]", percent(e.standard_error), percent(e.low), percent(e.high));
  }
  if (e.tasks < tasks) out += fmt::format(" ({} of {} tasks)", e.tasks, tasks);
  return out;
}

std::string means_table(const Sorted& sorted, const std::vector<GridMean>& means) {
  std::vector<std::string> header{"library", "method", "experts"};
  for (const auto& group : sorted.groups)
    header.push_back(fmt::format("{} ({})", group, sorted.tasks.at(group).size()));
  auto out = header_of(header, 2);
  std::map<std::string, double> best;
  for (const auto& m : means) {
    if (m.estimate.tasks == sorted.tasks.at(m.group).size()) best[m.group] = std::max(best[m.group], m.estimate.mean);
  }
  for (const auto& method : sorted.methods) {
    std::vector<std::string> row{method.library, method.name, method.experts > 0 ? std::to_string(method.experts) : ""};
    for (const auto& group : sorted.groups) {
      const auto found = std::find_if(means.begin(), means.end(), [&](const GridMean& m) {
        return Method{m.library, m.method} == method && m.group == group;
      });
      const auto tasks = sorted.tasks.at(group).size();
      row.push_back(
          found == means.end()
              ? ""
              : text_of(found->estimate, tasks, found->estimate.tasks == tasks && found->estimate.mean >= best[group]));
    }
    out += row_of(row);
  }
  return out;
}

std::string value_text(const std::vector<Score>& scores) {
  return scores.empty() ? "" : percent(estimate_mean(scores).mean);
}

/// Methods that have scores in the group.
std::vector<Method> methods_of(const Sorted& sorted, const std::vector<GridScore>& scores, const std::string& group) {
  std::vector<Method> out;
  for (const auto& method : sorted.methods) {
    if (!select(scores, method, group).empty()) out.push_back(method);
  }
  return out;
}

std::string tasks_table(const Sorted& sorted, const std::vector<GridScore>& scores, const std::string& group) {
  const auto& tasks = sorted.tasks.at(group);
  const auto methods = methods_of(sorted, scores, group);
  const bool tasks_across = tasks.size() <= kColumns;
  std::vector<std::string> header{tasks_across ? "method" : "task"};
  for (const auto& task : tasks) {
    if (tasks_across) header.push_back(task);
  }
  for (const auto& method : methods) {
    if (!tasks_across) header.push_back(title_of(method));
  }
  auto out = header_of(header, 1);
  if (tasks_across) {
    for (const auto& method : methods) {
      std::vector<std::string> row{title_of(method)};
      for (const auto& task : tasks) row.push_back(value_text(select(scores, method, group, task)));
      out += row_of(row);
    }
    return out;
  }
  for (const auto& task : tasks) {
    std::vector<std::string> row{task};
    for (const auto& method : methods) row.push_back(value_text(select(scores, method, group, task)));
    out += row_of(row);
  }
  return out;
}

}  // namespace

std::vector<GridMean> grid_means(const std::vector<GridScore>& scores) {
  const Sorted sorted(scores);
  std::vector<GridMean> out;
  for (const auto& method : sorted.methods) {
    for (const auto& group : sorted.groups) {
      const auto own = select(scores, method, group);
      if (!own.empty()) out.push_back({method.library, method.name, group, method.experts, estimate_mean(own)});
    }
  }
  return out;
}

std::string render_grid(const Recipe& recipe, const std::vector<GridScore>& scores) {
  const Sorted sorted(scores);
  const auto means = grid_means(scores);
  std::vector<std::string> seeds;
  for (const auto seed : recipe.seeds) seeds.push_back(std::to_string(seed));
  auto out = fmt::format("# {}\n\n", recipe.title);
  if (!recipe.source.empty()) out += fmt::format("After {}. ", recipe.source);
  out += fmt::format("Model `{}`, seeds {}, quiver {}.\n\n", recipe.model, join(seeds, ", "), version());
  out +=
      "Per cent right: mean over tasks ± standard error [95 % interval], over seeds where there are several, else from "
      "the tasks' bootstrap intervals.\n\n";
  out += means_table(sorted, means);
  for (const auto& group : sorted.groups) {
    out += fmt::format("\n## Tasks: {}\n\n{}", group, tasks_table(sorted, scores, group));
  }
  return out;
}

nlohmann::json to_json(const GridMean& m) {
  return {{"library", m.library},
          {"method", m.method},
          {"group", m.group},
          {"experts", m.experts},
          {"mean", m.estimate.mean},
          {"standard_error", m.estimate.standard_error},
          {"interval", {m.estimate.low, m.estimate.high}},
          {"tasks", m.estimate.tasks},
          {"seeds", m.estimate.seeds}};
}

nlohmann::json to_json(const GridScore& s) {
  return {{"library", s.library}, {"method", s.method},         {"group", s.group}, {"task", s.task},
          {"metric", s.metric},   {"experts", s.experts},       {"seed", s.seed},   {"count", s.count},
          {"value", s.value},     {"interval", {s.low, s.high}}};
}

}  // namespace quiver::recipes
