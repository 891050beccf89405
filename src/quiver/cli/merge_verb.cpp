// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/merging/merge.h"
#include "quiver/workspace/merge_experts.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  workspace::MergeJob job;
  std::vector<std::string> settings;
  bool list = false, json = false;
};

void list_methods(const Options& o) {
  evaluation::TextTable table{{"method", "what it does", "weights", "options"}, {}};
  for (const auto& m : merging::merge_table()) {
    if (o.json)
      print_json({{"method", m.name}, {"summary", m.summary}, {"weights", m.weights}, {"options", m.options}});
    table.rows.push_back({{m.name}, {m.summary}, {m.weights}, {m.options}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 4, 120}).c_str());
}

void run(const Options& o) {
  if (o.list) return list_methods(o);
  const auto begin = std::chrono::steady_clock::now();
  auto job = o.job;
  job.settings = key_values(o.settings, "--set");
  TerminalProgress progress;
  const auto merged = workspace::merge_experts(job, progress);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (o.json)
    return print_json({{"method", job.method},
                       {"experts", merged.experts},
                       {"output", merged.output},
                       {"parameters", merged.parameters},
                       {"seconds", seconds.count()}});
  std::printf("%s: %s of %zu experts, %.1f s\n", merged.output.c_str(), job.method.c_str(), merged.experts.size(),
              seconds.count());
}

}  // namespace

std::function<void()> declare_merge(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--library", o->job.library, "the folder of a library");
  app.add_option("--method", o->job.method, "how; --list shows the methods and what they take");
  app.add_option("--output", o->job.output, "the folder to write: a PEFT adapter, or with --into-base a whole model");
  app.add_option("--experts", o->job.experts, "only these experts, in this order")->delimiter(',');
  app.add_option("--weights", o->job.weights, "one per expert; default: the method's")->delimiter(',');
  app.add_option("--set", o->settings, "KEY=VALUE, an option of the method (repeatable)")->take_all();
  app.add_option("--name", o->job.name, "also save the result into the library as an expert of this name");
  app.add_flag(
      "--replace", o->job.replace,
      "overwrite an expert of the same name; in --output, the files of an earlier result: all others there stay");
  app.add_flag("--into-base", o->job.into_base, "fold the result into the weights of --model");
  app.add_option("--model", o->job.model, "with --into-base: the base model, a Hugging Face folder");
  app.add_flag("--allow-other-base", o->job.allow_other_base, "fold into a model that the experts were not trained on");
  app.add_flag("--list", o->list, "show the methods");
  app.add_flag("--json", o->json, "one object {method, experts, output, parameters, seconds}");
  return [o, &app] {
    if (o->list) refuse_unread(app, {"list", "json"}, "merge --list");
    run(*o);
  };
}

}  // namespace quiver::cli
