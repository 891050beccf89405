// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/evaluate_routes.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include "quiver/base/error.h"
#include "quiver/clustering/mbc.h"
#include "quiver/evaluation/trace.h"
#include "quiver/routing/router_table.h"

namespace quiver::workspace {
namespace {

/// Routes that weigh experts token by token or prompt by prompt: what a trace is worth looking at for.
bool chooses_among_experts(const std::string& route) {
  static const std::set<std::string> names{"arrow",     "spectr", "seqr", "average-activation",
                                           "phatgoose", "auto",   "moa",  "pemt"};
  return names.contains(routing::parse_route(route).name);
}

/// Hands on what it is told, each line once.
class SaidOnce : public Progress {
 public:
  explicit SaidOnce(Progress& progress) : progress_(progress) {}
  void update(const std::string& what, std::uint64_t done, std::uint64_t total, const std::string& note) override {
    progress_.update(what, done, total, note);
  }
  void finish() override { progress_.finish(); }
  void say(const std::string& line) override {
    if (said_.insert(line).second) progress_.say(line);
  }

 private:
  Progress& progress_;
  std::set<std::string> said_;
};

}  // namespace

RoutedEvaluation::RoutedEvaluation(const LoadedModel& loaded, const ExpertOptions& options, const ExpertSet& experts,
                                   const EvaluationPlan& plan, Progress& progress)
    : loaded_(loaded),
      experts_(experts),
      plan_(plan),
      progress_(std::make_unique<SaidOnce>(progress)),
      names_(plan.routes) {
  if (names_.empty()) names_.push_back(natural_route(options, experts));
  plan_.evaluate.vectors_before = vectors_before(experts);
  for (const auto& route : names_) {
    routers_.push_back(make_router(route, experts));
    routes_.push_back(in_use(route, *routers_.back()));
  }
}

evaluation::EvaluateInputs RoutedEvaluation::inputs() const {
  return {loaded_.model, *loaded_.text.tokenizer, *progress_, &experts_.inputs.expert_tasks};
}

evaluation::RouteInUse RoutedEvaluation::in_use(const std::string& route, const routing::Router& router) const {
  evaluation::RouteInUse out{route, &router, plan_.evaluate,
                             !routing::applies_to_unseen_tasks(routing::parse_route(route))};
  const auto rules = text_rules(plan_.join, loaded_, rules_of_route(experts_, route), plan_.evaluate.vectors_before);
  for (const auto& note : rules.notes) progress_->say(note);
  out.options.join = rules.join;
  return out;
}

evaluation::TasksEvaluation RoutedEvaluation::run(const std::vector<data::Task>& tasks,
                                                  const evaluation::TasksObserver& observer) const {
  return evaluation::evaluate_tasks(inputs(), tasks, routes_, observer);
}

evaluation::Matrix RoutedEvaluation::matrix(const std::vector<data::Task>& tasks, std::int64_t limit,
                                            const std::function<void(const evaluation::ResultRow&)>& on_result,
                                            std::vector<evaluation::Failure>& failures) const {
  evaluation::Matrix out;
  out.row_names = experts_.names();
  for (const auto& task : tasks) out.column_names.push_back(task.name);
  for (const auto& name : out.row_names) {
    const auto router = make_router("expert:" + name, experts_);
    auto route = in_use("expert:" + name, *router);
    route.options.limit = limit;
    auto& values = out.values.emplace_back();
    for (const auto& task : tasks) {
      values.push_back(std::nan(""));
      if (!evaluation::problem_of(task, route.options).empty()) continue;
      const auto found = evaluation::evaluate_tasks(inputs(), std::span(&task, 1), {route}, {});
      failures.insert(failures.end(), found.failures.begin(), found.failures.end());
      if (found.results.empty()) continue;
      values.back() = found.results.front().value;
      on_result(found.results.front());
    }
  }
  return out;
}

std::vector<evaluation::Trace> RoutedEvaluation::traces(const std::vector<data::Task>& tasks,
                                                        std::int64_t count) const {
  std::vector<evaluation::Trace> out;
  const auto shown = std::find_if(names_.rbegin(), names_.rend(), chooses_among_experts);
  if (experts_.bank->size() == 0 || shown == names_.rend()) return out;
  const auto& route = routes_[static_cast<std::size_t>(names_.rend() - shown - 1)];
  for (const auto& task : tasks) {
    const auto rows = task.rows(plan_.evaluate.split, 1);
    if (static_cast<std::int64_t>(out.size()) >= count) break;
    if (rows.empty() || task.examples[rows[0]].source.empty()) continue;
    const auto encode = [&](std::string_view text) { return loaded_.text.tokenizer->encode(text); };
    const auto ids = data::prompt_ids(task.examples[rows[0]], encode, route.options.join);
    try {
      out.push_back(evaluation::trace_prompt(inputs(), *route.router, ids, experts_.names(), {false, task.name}));
      out.back().title = task.name + ", " + *shown;
    } catch (const Error& error) {
      progress_->say("no trace of task " + task.name + ": " + error.what());
    }
  }
  return out;
}

evaluation::Clustering kept_clustering(const ExpertSet& experts) {
  evaluation::Clustering out;
  if (!experts.library) return out;
  const auto kept = clustering::read_clustering(*experts.library);
  if (!kept) return out;
  out.names = kept->names;
  out.cluster = kept->cluster;
  out.similarity = kept->similarity;
  for (const auto& [x, y] : kept->positions) out.positions.push_back({x, y});
  return out;
}

}  // namespace quiver::workspace
