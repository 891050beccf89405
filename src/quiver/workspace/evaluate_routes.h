// SPDX-License-Identifier: Apache-2.0
// Routes by name over opened experts, scored on tasks: what `quiver evaluate` does, to be called from anywhere.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/evaluation/evaluate_tasks.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::workspace {

struct EvaluationPlan {
  std::vector<std::string> routes;       ///< empty: the natural one
  JoinChoice join;                       ///< what it leaves open is as each route's experts were trained
  evaluation::EvaluateOptions evaluate;  ///< `join` and `vectors_before` are set by the plan
};

class RoutedEvaluation {
 public:
  /// Makes the routers; what texts are joined by is said where it is not as experts were trained. Everything given must
  /// outlive this. Throws Error{usage} on a route that cannot be made.
  RoutedEvaluation(const LoadedModel& loaded, const ExpertOptions& options, const ExpertSet& experts,
                   const EvaluationPlan& plan, Progress& progress);

  evaluation::TasksEvaluation run(const std::vector<data::Task>& tasks,
                                  const evaluation::TasksObserver& observer) const;
  /// Every expert alone on every task, by the task's headline, on the first `limit` rows; NaN where a task fails, which
  /// goes to `failures`, but for what `run` says of a task under any route.
  evaluation::Matrix matrix(const std::vector<data::Task>& tasks, std::int64_t limit,
                            const std::function<void(const evaluation::ResultRow&)>& on_result,
                            std::vector<evaluation::Failure>& failures) const;
  /// Routing of the first test prompts of `count` tasks under the last route that chooses among experts, if any.
  std::vector<evaluation::Trace> traces(const std::vector<data::Task>& tasks, std::int64_t count) const;

  const std::vector<std::string>& routes() const { return names_; }

 private:
  evaluation::EvaluateInputs inputs() const;
  /// Says where texts are not joined as the route's experts were trained.
  evaluation::RouteInUse in_use(const std::string& route, const routing::Router& router) const;

  const LoadedModel& loaded_;
  const ExpertSet& experts_;
  EvaluationPlan plan_;
  std::unique_ptr<Progress> progress_;  ///< which says each line once, however many experts score the same rows
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<routing::Router>> routers_;
  std::vector<evaluation::RouteInUse> routes_;
};

/// The clustering that the library keeps, as a report shows it; empty where there is none.
evaluation::Clustering kept_clustering(const ExpertSet& experts);

}  // namespace quiver::workspace
