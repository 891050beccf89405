// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/evaluation/trace.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  RouteOptions route;
  JoinChoice join;
  OptionSet texts;
  std::string text, html;
  bool per_site = false, json = false;
};

void run(const Options& o) {
  TerminalProgress progress;
  if (!o.html.empty()) check_output_file(o.html, "--html", evaluation::is_report);
  const auto loaded = load(o.model);
  const auto routed = load_routed(o.route, loaded, progress);
  const auto& tokenizer = *loaded.text.tokenizer;
  const auto ids =
      workspace::prompt_ids(o.text, workspace::rules_for_prompts(o.join, loaded, routed, progress), tokenizer);
  auto trace = evaluation::trace_prompt({loaded.model, tokenizer, progress}, *routed.router, ids,
                                        routed.experts.names(), {o.per_site, o.route.task});
  trace.title = o.text;
  if (!o.html.empty()) {
    evaluation::Report report;
    report.title = "Routing of a text";
    report.facts = {{"model", o.model.model}, {"route", routed.route}};
    report.traces.push_back(trace);
    write_file_atomically(o.html, evaluation::render_report(report));
    std::fprintf(stderr, "report: %s\n", o.html.c_str());
  }
  if (!o.json) {
    std::printf("%s", evaluation::render_trace_text(trace, colour_wanted()).c_str());
    return;
  }
  auto object = evaluation::to_json(trace, o.per_site);
  object["route"] = routed.route;
  print_json(object);
}

}  // namespace

std::function<void()> declare_inspect(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->route);
  workspace::describe_prompts(o->join, o->texts);
  declare(app, o->texts);
  app.add_option("--text", o->text, "the text")->required();
  app.add_flag("--per-site", o->per_site, "a line per site instead of per layer");
  app.add_option("--html", o->html, "a picture into this file");
  app.add_flag("--json", o->json, "one object");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
