// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <ctime>
#include <set>
#include <sstream>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/mbc.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/evaluation/report/report.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/evaluation/trace.h"
#include "quiver/routing/router_table.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  TaskOptions tasks;
  JoinChoice join;
  evaluation::EvaluateOptions evaluate;
  std::vector<std::string> routes;
  std::string split = "test", samples, report, title = "Quiver evaluation";
  std::int64_t matrix_limit = 20, traces = 3;
  bool matrix = false, json = false;
};

bool knows(const ExpertSet& experts, const std::string& task) {
  for (const auto& tasks : experts.inputs.expert_tasks) {
    if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) return true;
  }
  return false;
}

class Run {
 public:
  explicit Run(Options& o)
      : o_(o),
        loaded_(load(o.model)),
        experts_(load_experts(o.experts, loaded_, progress_)),
        tasks_(o.tasks.read(loaded_.text)) {
    o.evaluate.split = data::split_from_name(o.split);
    o.evaluate.join = o.join.options(loaded_);
    if (o.routes.empty()) o.routes.push_back(natural_route(o.experts, experts_));
    for (const auto& route : o.routes) routers_.push_back(make_router(route, experts_));
  }

  void all() {
    std::string samples;
    for (const auto& task : tasks_) {
      for (std::size_t r = 0; r < routers_.size(); ++r) {
        const bool unseen = experts_.bank->size() > 0 && !knows(experts_, task.name);
        if (unseen && !routing::applies_to_unseen_tasks(routing::parse_route(o_.routes[r]))) continue;
        auto result = evaluation::evaluate(inputs(), task, *routers_[r], o_.routes[r], o_.evaluate);
        for (auto& row : result.results) {
          row.held_out = unseen;
          if (o_.json) print_row(row, result.routing_accuracy_by_layer);
          report_.results.push_back(row);
        }
        for (const auto& sample : result.samples) samples += sample_line(sample);
      }
    }
    if (!o_.samples.empty()) write_file_atomically(o_.samples, samples);
    if (o_.matrix) fill_matrix();
    if (!o_.json) std::printf("%s", evaluation::render_results_text(report_.results, colour_wanted()).c_str());
    if (!o_.report.empty()) write_report();
  }

 private:
  evaluation::EvaluateInputs inputs() {
    return {loaded_.model, *loaded_.text.tokenizer, progress_, &experts_.inputs.expert_tasks};
  }

  static void print_row(const evaluation::ResultRow& row, const std::vector<double>& by_layer = {}) {
    nlohmann::json line{{"task", row.task},        {"route", row.route},
                        {"metric", row.metric},    {"value", number_or_null(row.value)},
                        {"count", row.count},      {"interval", {number_or_null(row.low), number_or_null(row.high)}},
                        {"held_out", row.held_out}};
    if (row.metric == "routing_accuracy") line["by_layer"] = by_layer;
    print_json(line);
  }

  static std::string sample_line(const evaluation::Sample& s) {
    const nlohmann::json line{{"task", s.task},     {"route", s.route},           {"source", s.source},
                              {"target", s.target}, {"prediction", s.prediction}, {"scores", s.scores}};
    return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  /// Every expert on every task, by the task's headline number.
  void fill_matrix() {
    auto options = o_.evaluate;
    options.limit = o_.matrix_limit;
    auto& m = report_.matrix;
    m.row_names = experts_.names();
    for (const auto& task : tasks_) m.column_names.push_back(task.name);
    for (const auto& name : m.row_names) {
      const auto router = make_router("expert:" + name, experts_);
      auto& row = m.values.emplace_back();
      for (const auto& task : tasks_) {
        const auto result = evaluation::evaluate(inputs(), task, *router, "expert:" + name, options);
        const auto* best = evaluation::headline(result.results);
        row.push_back(best->value);
        if (o_.json) print_row(*best);
      }
    }
  }

  /// The last route that chooses among experts, on one test prompt of each of the first tasks.
  void add_traces() {
    if (experts_.bank->size() == 0) return;
    static const std::set<std::string> shown{"arrow",     "spectr", "seqr", "average-activation",
                                             "phatgoose", "auto",   "moa",  "pemt"};
    std::size_t chosen = routers_.size();
    for (std::size_t r = 0; r < routers_.size(); ++r) {
      if (shown.contains(routing::parse_route(o_.routes[r]).name)) chosen = r;
    }
    if (chosen == routers_.size()) return;
    for (std::size_t t = 0; t < tasks_.size() && static_cast<std::int64_t>(report_.traces.size()) < o_.traces; ++t) {
      const auto& task = tasks_[t];
      const auto rows = task.rows(o_.evaluate.split);
      if (rows.empty()) continue;
      auto trace = evaluation::trace_text(inputs(), *routers_[chosen], task.examples[rows[0]].source, experts_.names(),
                                          {false, task.name});
      trace.title = task.name + ", " + o_.routes[chosen];
      report_.traces.push_back(std::move(trace));
    }
  }

  void add_clustering() {
    if (!experts_.library) return;
    const auto clustering = clustering::read_clustering(*experts_.library);
    if (!clustering) return;
    report_.clustering.names = clustering->names;
    report_.clustering.cluster = clustering->cluster;
    report_.clustering.similarity = clustering->similarity;
    for (const auto& [x, y] : clustering->positions) report_.clustering.positions.push_back({x, y});
  }

  void write_report() {
    char date[32];
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d %H:%M", std::localtime(&now));
    report_.title = o_.title;
    report_.facts = {
        {"model", o_.model.model},
        {"fingerprint", loaded_.model.fingerprint().substr(0, 12)},
        {"library", o_.experts.library.empty() ? "none" : fs::path(o_.experts.library).filename().string()},
        {"experts", std::to_string(experts_.bank->size())},
        {"split", o_.split},
        {"rows per task", o_.evaluate.limit ? "at most " + std::to_string(o_.evaluate.limit) : "all"},
        {"date", date}};
    add_clustering();
    add_traces();
    write_file_atomically(o_.report, evaluation::render_report(report_));
    std::fprintf(stderr, "report: %s\n", o_.report.c_str());
  }

  Options& o_;
  TerminalProgress progress_;
  LoadedModel loaded_;
  ExpertSet experts_;
  std::vector<data::Task> tasks_;
  std::vector<std::unique_ptr<routing::Router>> routers_;
  evaluation::Report report_;
};

std::string route_help() {
  std::string out = "how experts are applied (repeatable):";
  for (const auto& route : routing::route_table()) out += "\n" + route.name + route.options + " - " + route.summary;
  return out;
}

}  // namespace

std::function<void()> declare_evaluate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->experts);
  declare(app, o->tasks);
  declare(app, o->join);
  app.add_option("--route", o->routes, route_help());
  app.add_option("--split", o->split, "train, validation or test")->capture_default_str();
  app.add_option("--limit", o->evaluate.limit, "rows of each task; 0: all")->capture_default_str();
  app.add_option("--max-new-tokens", o->evaluate.max_new_tokens, "of a generated answer")->capture_default_str();
  app.add_option("--rank-labels", o->evaluate.label_limit,
                 "rank a task without options among its training targets where they are at most so many; 0: generate")
      ->capture_default_str();
  app.add_option("--seed", o->evaluate.seed, "of the bootstrap")->capture_default_str();
  app.add_option("--samples", o->samples, "a JSON line per row and route into this file");
  app.add_option("--report", o->report, "an HTML report into this file");
  app.add_option("--title", o->title, "of the report")->capture_default_str();
  app.add_flag("--matrix", o->matrix, "also every expert on every task");
  app.add_option("--matrix-limit", o->matrix_limit, "rows of each task for that")->capture_default_str();
  app.add_option("--traces", o->traces, "texts in the report whose routing is shown")->capture_default_str();
  app.add_flag("--json", o->json, "an object per task, route and metric");
  return [o] { Run(*o).all(); };
}

}  // namespace quiver::cli
