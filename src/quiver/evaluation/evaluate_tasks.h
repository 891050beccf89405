// SPDX-License-Identifier: Apache-2.0
// Tasks under routes, so that one bad task or row never loses the others.
//
// What a task's text shows (no rows of the split, a metric that there is not) is said before anything is computed. A
// task that fails, whatever it fails of, is said, noted and left out; the others go on. Routes are compared with the
// first one by intervals of paired differences.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quiver/evaluation/summary.h"

namespace quiver::evaluation {

struct RouteInUse {
  std::string name;
  const routing::Router* router = nullptr;
  EvaluateOptions options;        ///< whose join rules are those of the route's experts
  bool needs_known_task = false;  ///< passed over where no expert was trained on the task, as the oracle is
};

/// What a task or one of its rows lost, in one line.
struct Failure {
  std::string task, route;  ///< no route: under all of them
  std::string message;
  std::string line() const;
};

struct TasksEvaluation {
  std::vector<ResultRow> results;
  std::vector<RouteDifference> differences;  ///< of each route to the first
  std::vector<Failure> failures;             ///< tasks that were left out, rows that were
};

struct TasksObserver {
  /// Of each task and route as it is scored; may be empty.
  std::function<void(const Evaluation&)> on_result;
  std::function<void(const RouteDifference&)> on_difference;
};

/// `inputs.expert_tasks`, where it is there, says which tasks are known; the others' results are marked held out.
TasksEvaluation evaluate_tasks(const EvaluateInputs& inputs, std::span<const data::Task> tasks,
                               const std::vector<RouteInUse>& routes, const TasksObserver& observer);

}  // namespace quiver::evaluation
