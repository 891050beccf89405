// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>

#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/results_json.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/routing/router_table.h"
#include "quiver/workspace/evaluate_routes.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  TaskOptions tasks;
  workspace::EvaluationPlan plan;
  OptionSet texts, scoring, shown;
  std::string samples, report, title = "Quiver evaluation";
  std::int64_t matrix_limit = 20, traces = 3;
  bool matrix = false, json = false;
};

/// What is printed and written, before anything is computed for it.
void check_outputs(const Options& o) {
  QUIVER_CHECK(o.matrix || !o.shown.given("matrix_limit"), usage, "--matrix-limit", "goes with --matrix");
  for (const auto* option : {"title", "traces"})
    QUIVER_CHECK(!o.report.empty() || !o.shown.given(option), usage, command_line_name(option), "goes with --report");
  workspace::refuse_twice(o.plan.routes, "--route");
  QUIVER_CHECK(!o.matrix || !o.experts.library.empty() || !o.experts.adapters.empty(), usage, "--matrix",
               "no experts to show; give a --library or an --adapter");
  QUIVER_CHECK(o.samples.empty() || fs::path(o.samples).lexically_normal() != fs::path(o.report).lexically_normal(),
               usage, "--samples, --report", "both are {}; name two files", o.samples);
  if (!o.samples.empty()) check_output_file(o.samples, "--samples", evaluation::are_samples);
  if (!o.report.empty()) check_output_file(o.report, "--report", evaluation::is_report);
}

/// The file of --samples: it holds the samples of every task that was scored so far, whatever becomes of the others.
class SamplesFile {
 public:
  explicit SamplesFile(std::string path) : path_(std::move(path)) {}

  void add(const std::vector<evaluation::Sample>& samples) {
    if (path_.empty()) return;
    std::string lines;
    for (const auto& sample : samples) lines += json_line(evaluation::to_json(sample));
    if (!begun_) write_file_atomically(path_, "");
    begun_ = true;
    std::ofstream stream(path_, std::ios::binary | std::ios::app);
    stream << lines << std::flush;
    QUIVER_CHECK(stream.good(), io, path_, "cannot write: {}", std::strerror(errno));
  }

 private:
  std::string path_;
  bool begun_ = false;
};

void write_report(const Options& o, const LoadedModel& loaded, const ExpertSet& experts, evaluation::Report report) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M", std::localtime(&now));
  const auto& evaluate = o.plan.evaluate;
  report.title = o.title;
  report.facts = {{"model", o.model.model},
                  {"fingerprint", loaded.model.fingerprint().substr(0, 12)},
                  {"library", o.experts.library.empty() ? "none" : fs::path(o.experts.library).filename().string()},
                  {"experts", std::to_string(experts.bank->size())},
                  {"split", data::split_name(evaluate.split)},
                  {"rows per task", evaluate.limit ? "at most " + std::to_string(evaluate.limit) : "all"},
                  {"date", date}};
  report.clustering = workspace::kept_clustering(experts);
  write_file_atomically(o.report, evaluation::render_report(report));
  std::fprintf(stderr, "report: %s\n", o.report.c_str());
}

/// Exit status 1, with a line for each task or row that was lost.
void refuse_failures(const std::vector<evaluation::Failure>& failures) {
  if (failures.empty()) return;
  std::string lines;
  for (const auto& failure : failures) lines += "\n  " + failure.line();
  fail(ErrorCode::format, "evaluate", "not everything could be scored:{}", lines);
}

void run(const Options& o) {
  check_outputs(o);
  TerminalProgress progress;
  const auto loaded = load(o.model);
  const auto experts = load_experts(o.experts, loaded, progress);
  const auto tasks = o.tasks.read(loaded.text, progress);
  const workspace::RoutedEvaluation evaluation(loaded, o.experts, experts, o.plan, progress);

  SamplesFile samples(o.samples);
  evaluation::TasksObserver observer;
  observer.on_result = [&](const evaluation::Evaluation& result) {
    samples.add(result.samples);
    for (const auto& line : evaluation::to_json(result)) {
      if (o.json) print_json(line);
    }
  };
  observer.on_difference = [&](const evaluation::RouteDifference& difference) {
    if (o.json) print_json(evaluation::to_json(difference));
  };
  auto found = evaluation.run(tasks, observer);
  samples.add({});  // the file of this run, where nothing could be scored
  if (!o.json) {
    std::printf("%s", evaluation::render_results_text(found.results, colour_wanted()).c_str());
    const auto differences = evaluation::render_differences_text(found.differences, colour_wanted());
    if (!differences.empty()) std::printf("\n%s", differences.c_str());
    std::fflush(stdout);
  }
  evaluation::Report report;
  report.results = found.results;
  if (o.matrix) {
    const auto show = [&](const evaluation::ResultRow& row) {
      auto line = evaluation::to_json(row);
      line["matrix"] = true;
      if (o.json) print_json(line);
    };
    report.matrix = evaluation.matrix(tasks, o.matrix_limit, show, found.failures);
  }
  if (!o.report.empty()) {
    report.traces = evaluation.traces(tasks, o.traces);
    write_report(o, loaded, experts, std::move(report));
  }
  refuse_failures(found.failures);
}

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
  declare(app, o->plan.join, o->texts);
  app.add_option("--route", o->plan.routes, route_help());
  evaluation::describe(o->plan.evaluate, o->scoring);
  declare(app, o->scoring);
  app.add_option("--samples", o->samples, "a JSON line per row and route into this file");
  app.add_option("--report", o->report, "an HTML report into this file");
  app.add_flag("--matrix", o->matrix, "also every expert on every task");
  o->shown.text("title", o->title, "of the report");
  o->shown.integer("matrix_limit", o->matrix_limit, at_least(0), "rows of each task for --matrix; 0: all");
  o->shown.integer("traces", o->traces, at_least(0), "texts in the report whose routing is shown");
  declare(app, o->shown);
  app.add_flag("--json", o->json, "an object per task, route and metric");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
