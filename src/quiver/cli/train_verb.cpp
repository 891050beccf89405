// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/declare_options.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/training/methods/table.h"
#include "quiver/workspace/train.h"

namespace quiver::cli {
namespace {

struct Options {
  workspace::TrainJob job;
  OptionSet texts;
  std::vector<std::string> settings;
  bool json = false;
};

/// Sources by sites, as a table of shares.
std::string gate_table(const nlohmann::json& gates) {
  evaluation::TextTable table{{"site"}, {}};
  for (const auto& [source, share] : gates.begin()->items()) table.header.push_back(source);
  for (const auto& [site, shares] : gates.items()) {
    auto& row = table.rows.emplace_back();
    row.push_back({site});
    for (const auto& [source, share] : shares.items()) row.push_back({fmt::format("{:.2f}", share.get<double>())});
  }
  return "mean gates:\n" + evaluation::render_table(table, {colour_wanted(), 1, 140});
}

void report(const training::Learned& learned, bool json) {
  if (json) return print_json(training::to_json(learned));
  const auto& f = learned.figures;
  const auto validation = std::isfinite(f.validation_loss)
                              ? fmt::format("{:.3f} ({:.3f} before)", f.validation_loss, f.first_validation)
                              : std::string("none");
  std::printf("%-32s %5lld steps  train %.3f  validation %s  %6.0f tokens/s%s%s\n", learned.name.c_str(),
              static_cast<long long>(f.steps), f.train_loss, validation.c_str(), f.tokens_per_second(),
              learned.what == "router" ? ("   apply with --route " + learned.route).c_str() : "",
              learned.already_there ? "  (already there)" : "");
  const auto gates = learned.more.find("gates");
  if (gates != learned.more.end() && !gates->empty()) std::printf("%s", gate_table(*gates).c_str());
  std::fflush(stdout);
}

std::string method_help() {
  std::vector<std::string> out;
  for (const auto& method : training::method_table()) out.push_back(method.name + ": " + method.summary);
  return join(out, "; ");
}

std::string settings_help() {
  std::vector<std::string> out;
  for (const auto& entry : training::method_table()) {
    const auto method = entry.make();
    OptionSet set;
    method->describe(set);
    if (!set.options().empty()) out.push_back(entry.name + ": " + set.summary());
  }
  return "KEY=VALUE, repeatable; of " + join(out, "; ");
}

}  // namespace

std::function<void()> declare_train(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->job.model);
  declare(app, o->job.tasks);
  app.add_option("--method", o->job.options.method, method_help())->capture_default_str();
  declare(app, o->job.set);
  app.add_option("--set", o->settings, settings_help());
  declare(app, o->job.join, o->texts);
  app.add_flag("--json", o->json, "an object per result");
  return [o] {
    TerminalProgress progress;
    o->job.settings = key_values(o->settings, "--set");
    workspace::train(o->job, progress, [&](const training::Learned& learned) { report(learned, o->json); });
  };
}

}  // namespace quiver::cli
