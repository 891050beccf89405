// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/cli/common.h"
#include "quiver/cli/declare_options.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/report/report_grid.h"
#include "quiver/evaluation/results_json.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/workspace/adapt.h"

namespace quiver::cli {
namespace {

using workspace::AdaptScore;
using workspace::AdaptSummary;

struct Options {
  workspace::AdaptJob job;
  OptionSet texts;
  bool json = false;
};

void print(const AdaptScore& s) {
  nlohmann::json out{{"task", s.task},
                     {"regime", s.regime},
                     {"metric", s.result.metric},
                     {"value", evaluation::number_or_null(s.result.value)},
                     {"count", s.result.count}};
  if (s.seed)
    out.update({{"seed", *s.seed},
                {"examples", s.examples},
                {"trained", s.adapted.trained},
                {"loss_before", evaluation::number_or_null(s.adapted.loss_before)},
                {"loss", evaluation::number_or_null(s.adapted.loss)},
                {"seconds", s.adapted.seconds},
                {"note", s.adapted.note}});
  print_json(out);
}

void print(const AdaptSummary& s) {
  print_json({{"task", s.task},
              {"regime", s.regime},
              {"metric", s.metric},
              {"mean", evaluation::number_or_null(s.mean.mean)},
              {"interval", {evaluation::number_or_null(s.mean.low), evaluation::number_or_null(s.mean.high)}},
              {"seeds", std::max<std::size_t>(1, s.seeds)}});
}

void print_table(const std::vector<AdaptSummary>& all) {
  evaluation::TextTable table;
  table.header = {all[0].task, all[0].metric, "95 % interval", "seeds", "trained", "loss", "seconds"};
  for (const auto& s : all) {
    const auto shown = [kind = evaluation::metric_kind(s.metric)](double value) {
      return evaluation::format_value(value, kind);
    };
    const bool adapted = s.seeds > 0;
    table.rows.push_back({{s.regime},
                          {shown(s.mean.mean)},
                          {s.seeds > 1 ? shown(s.mean.low) + " to " + shown(s.mean.high) : ""},
                          {adapted ? std::to_string(s.seeds) : ""},
                          {adapted ? std::to_string(s.trained) : ""},
                          {adapted ? fmt::format("{:.3f}", s.loss) : ""},
                          {adapted ? fmt::format("{:.1f}", s.seconds) : ""}});
  }
  std::printf("%s\n", evaluation::render_table(table, {colour_wanted(), 1, 48}).c_str());
  std::fflush(stdout);
}

std::string regime_help() {
  std::string out = "how the library is put to use (repeatable):";
  for (const auto& regime : training::regime_table()) out += "\n" + regime.name + " - " + regime.summary;
  return out;
}

}  // namespace

std::function<void()> declare_adapt(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->job.model);
  declare(app, o->job.experts);
  declare(app, o->job.tasks);
  declare(app, o->job.join, o->texts);
  app.add_option("--regime", o->job.regimes, regime_help())->required();
  declare(app, o->job.general);
  declare(app, o->job.learning);
  app.add_flag("--json", o->json, "an object per regime and seed, then one per regime");
  return [o] {
    TerminalProgress progress;
    const workspace::AdaptListener listener{[&](const AdaptScore& score) {
                                              if (o->json) print(score);
                                            },
                                            [&](const std::vector<AdaptSummary>& all) {
                                              if (!o->json) return print_table(all);
                                              for (const auto& summary : all) print(summary);
                                            }};
    workspace::adapt(o->job, progress, listener);
  };
}

}  // namespace quiver::cli
