// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/base/output_folder.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/data/benchmarks/benchmark_task.h"
#include "quiver/evaluation/terminal_table.h"

namespace quiver::cli {
namespace {

struct Options {
  std::string benchmark, files, output, shots_per = "class";
  data::BenchmarkOptions read;
  bool list = false, json = false;
};

std::vector<std::string> files_of(const data::Benchmark& b) {
  std::vector<std::string> files;
  for (const auto name : {b.train, b.validation, b.test}) {
    if (!name.empty()) files.push_back((fs::path(b.folder) / name).string());
  }
  return files;
}

std::vector<std::string> metrics_of(const data::Benchmark& b) {
  return b.metrics.empty() ? std::vector<std::string>{"exact_match"} : b.metrics;
}

std::string splits_of(const data::Benchmark& b) {
  switch (b.split_rule) {
    case data::SplitRule::halved:
      return "validation halved";
    case data::SplitRule::held_out:
      return "1000 of train";
    case data::SplitRule::given:
      return "as given";
  }
  return "";
}

void list_benchmarks(const Options& o) {
  evaluation::TextTable table{{"benchmark", "suite", "files", "splits", "metrics"}, {}};
  for (const auto& b : data::benchmarks()) {
    if (o.json)
      print_json({{"benchmark", b.name},
                  {"suite", b.suite},
                  {"files", files_of(b)},
                  {"splits", splits_of(b)},
                  {"target_tokens", b.target_tokens},
                  {"metrics", metrics_of(b)}});
    table.rows.push_back({{std::string(b.name)},
                          {std::string(b.suite)},
                          {join(files_of(b), ", ")},
                          {splits_of(b)},
                          {join(metrics_of(b), ", ")}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 5, 140}).c_str());
}

/// True of a task file, by its first row.
bool are_rows(const std::string& head) {
  return head.starts_with("{") && (head.find("\"source\"") != head.npos || head.find("\"options\"") != head.npos);
}

void run(const Options& o) {
  if (o.list) return list_benchmarks(o);
  QUIVER_CHECK(!o.benchmark.empty() && !o.files.empty() && !o.output.empty(), usage, "task",
               "give --benchmark NAME, --files DIR and --output FILE, or --list");
  check_output_file(o.output, "--output", are_rows);
  const auto& benchmark = data::find_benchmark(o.benchmark);
  auto options = o.read;
  options.few_shot.of = data::shots_of_from_name(o.shots_per);
  const auto task = data::read_benchmark(benchmark, o.files, options);
  write_file_atomically(o.output, data::task_rows(task));
  const auto train = task.rows(data::Split::train).size(), validation = task.rows(data::Split::validation).size(),
             test = task.rows(data::Split::test).size();
  if (o.json)
    return print_json({{"benchmark", benchmark.name},
                       {"output", o.output},
                       {"train", train},
                       {"validation", validation},
                       {"test", test},
                       {"target_tokens", benchmark.target_tokens},
                       {"metrics", metrics_of(benchmark)}});
  std::printf("%s: %zu train, %zu validation, %zu test rows; targets of at most %d tokens; scored by %s\n",
              o.output.c_str(), train, validation, test, benchmark.target_tokens,
              join(metrics_of(benchmark), ", ").c_str());
}

}  // namespace

std::function<void()> declare_task(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--benchmark", o->benchmark, "which; --list shows them");
  app.add_option("--files", o->files, "the folder of its public files, or the one above");
  app.add_option("--output", o->output, "the task file to write (.jsonl)");
  app.add_option("--shots", o->read.few_shot.shots, "K training examples; 0: all")->capture_default_str();
  app.add_option("--shots-per", o->shots_per, "class: K of each class; total: K / classes of each")
      ->capture_default_str();
  app.add_option("--seed", o->read.few_shot.seed, "of the few-shot sample; the splits are always the published ones")
      ->capture_default_str();
  app.add_flag("--options", o->read.list_options, "write each row's options: evaluation ranks them, not generates");
  app.add_flag("--list", o->list, "show the benchmarks, their files, splits and metrics");
  app.add_flag("--json", o->json, "one object; with --list one per benchmark");
  return [o, &app] {
    if (o->list) refuse_unread(app, {"list", "json"}, "--list");
    QUIVER_CHECK(o->read.few_shot.shots > 0 || app.count("--shots-per") == 0, usage, "--shots-per",
                 "'{}', which is read only with --shots; give how many", o->shots_per);
    run(*o);
  };
}

}  // namespace quiver::cli
