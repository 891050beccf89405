// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/evaluate_tasks.h"

#include <algorithm>
#include <optional>
#include <set>

#include "quiver/base/error.h"

namespace quiver::evaluation {
namespace {

class TasksRun {
 public:
  TasksRun(const EvaluateInputs& inputs, std::span<const data::Task> tasks, const std::vector<RouteInUse>& routes,
           const TasksObserver& observer)
      : inputs_(inputs), tasks_(tasks), routes_(routes), observer_(observer) {}

  TasksEvaluation run() {
    const auto sound = without_problems();
    for (const auto* task : sound) score(*task);
    return std::move(out_);
  }

 private:
  /// The tasks whose texts can be scored; the others are said before anything is computed.
  std::vector<const data::Task*> without_problems() {
    std::vector<const data::Task*> out;
    for (const auto& task : tasks_) {
      const auto problem = problem_of(task, routes_.front().options);
      if (problem.empty())
        out.push_back(&task);
      else
        fail(task, "", problem);
    }
    return out;
  }

  void fail(const data::Task& task, const std::string& route, const std::string& message) {
    out_.failures.push_back({task.name, route, message});
    inputs_.progress.say(out_.failures.back().line());
  }

  /// Whether some expert was trained on the task.
  bool known(const data::Task& task) const {
    const auto* tasks = inputs_.expert_tasks;
    return !tasks || tasks->empty() || std::any_of(tasks->begin(), tasks->end(), [&](const auto& names) {
      return std::find(names.begin(), names.end(), task.name) != names.end();
    });
  }

  void score(const data::Task& task) {
    std::optional<Evaluation> first;
    std::set<std::string> said;
    for (std::size_t r = 0; r < routes_.size(); ++r) {
      const auto& route = routes_[r];
      if (route.needs_known_task && !known(task)) continue;
      auto result = scored(task, route);
      if (!result) continue;
      for (auto& row : result->results) row.held_out = !known(task);
      report(task, *result, said);
      if (r == 0)
        first = std::move(result);
      else if (first)
        compare(*result, *first, route.options.seed);
    }
  }

  /// Nothing where the task fails under the route. LibTorch's errors and a lack of memory lose one task too.
  std::optional<Evaluation> scored(const data::Task& task, const RouteInUse& route) {
    try {
      return evaluate(inputs_, task, *route.router, route.name, route.options);
    } catch (const Error& error) {
      fail(task, route.name, error.what());
      return std::nullopt;
    } catch (const std::exception& error) {
      const std::string message = error.what();
      fail(task, route.name, message.substr(0, message.find('\n')));
      return std::nullopt;
    }
  }

  /// Findings are the same under most routes, and said once.
  void report(const data::Task& task, const Evaluation& result, std::set<std::string>& said) {
    for (const auto& line : result.findings.lines()) {
      if (said.insert(line).second) inputs_.progress.say(line);
    }
    if (const auto lost = result.findings.count(data::RowFinding::left_out); lost > 0)
      out_.failures.push_back({task.name, headline(result).route, fmt::format("{} rows were left out", lost)});
    if (observer_.on_result) observer_.on_result(result);
    out_.results.insert(out_.results.end(), result.results.begin(), result.results.end());
  }

  void compare(const Evaluation& result, const Evaluation& first, std::uint64_t seed) {
    if (result.rows != first.rows)
      inputs_.progress.say(fmt::format("task {}: {} is not compared with {}, which could score other rows",
                                       headline(result).task, headline(result).route, headline(first).route));
    for (auto& difference : differences_of(result, first, seed)) {
      if (observer_.on_difference) observer_.on_difference(difference);
      out_.differences.push_back(std::move(difference));
    }
  }

  const EvaluateInputs& inputs_;
  std::span<const data::Task> tasks_;
  const std::vector<RouteInUse>& routes_;
  const TasksObserver& observer_;
  TasksEvaluation out_;
};

}  // namespace

std::string Failure::line() const {
  return fmt::format("task {}{}: {}", task, route.empty() ? "" : " under " + route, message);
}

TasksEvaluation evaluate_tasks(const EvaluateInputs& inputs, std::span<const data::Task> tasks,
                               const std::vector<RouteInUse>& routes, const TasksObserver& observer) {
  QUIVER_CHECK(!routes.empty(), usage, "evaluate", "expected at least one route, came none");
  return TasksRun(inputs, tasks, routes, observer).run();
}

}  // namespace quiver::evaluation
