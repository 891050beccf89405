// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/train_pemt.h"

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/task_rows.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/saved_pemt.h"
#include "quiver/training/pemt_training.h"

namespace quiver::cli {
namespace {

/// --set key=value as the options of a route, which are read alike.
routing::RouteSpec spec_of(const std::vector<std::string>& settings) {
  routing::RouteSpec out;
  out.text = out.name = "pemt";
  for (const auto& setting : settings) {
    const auto at = setting.find('=');
    QUIVER_CHECK(at != std::string::npos && at > 0, usage, "--set " + setting, "expected KEY=VALUE");
    out.options.emplace_back(setting.substr(0, at), setting.substr(at + 1));
  }
  out.check_options(
      {"sources", "gate", "attention", "temperature", "sparsity_weight", "sparsity_mask", "layer_norms", "experts"});
  return out;
}

training::PemtTraining training_of(const routing::RouteSpec& spec, const PemtRun& run) {
  using Gate = routing::PemtOptions::Gate;
  training::PemtTraining out;
  const bool correlation = routing::choice_of(spec, "gate", {"prompt-mean", "correlation"}, "prompt-mean") == 1;
  out.options.gate = correlation ? Gate::correlation : Gate::prompt_mean;
  out.options.live = routing::choice_of(spec, "attention", {"live", "once"}, "live") == 0;
  out.options.temperature = spec.number("temperature", 1.0);
  QUIVER_CHECK(out.options.temperature > 0, usage, "--set temperature", "{}, expected a positive number",
               out.options.temperature);
  out.options.mask_prompt = spec.flag("sparsity_mask", false);
  out.sparsity_weight = spec.number("sparsity_weight", out.sparsity_weight);
  out.layer_norms = spec.flag("layer_norms", true);
  out.width = run.options.kind.width;
  out.prompt_tokens = run.options.kind.prompt_tokens;
  if (!run.prompt_text.empty()) out.prompt_ids = run.loaded.text.tokenizer->encode(run.prompt_text, {true, true});
  return out;
}

/// The sources, of the kind that `experts` says.
adapter::Bank sources_of(const routing::RouteSpec& spec, const PemtRun& run) {
  const auto names = split(spec.find("sources").value_or(""), ',');
  QUIVER_CHECK(!names.empty() && !names[0].empty(), usage, "--set sources", "missing: experts of the library, a,b,c");
  const bool bottlenecks = routing::choice_of(spec, "experts", {"lora", "bottleneck"}, "lora") == 1;
  adapter::Bank bank(run.loaded.model);
  for (const auto& name : names) {
    auto source = run.library.load(name);
    QUIVER_CHECK(bottlenecks ? source.sites.empty() : !source.sites.empty(), usage, "--set experts",
                 "expert '{}' is {}; say experts={}", name, bottlenecks ? "LoRA" : "not LoRA",
                 bottlenecks ? "lora" : "bottleneck");
    bank.add(name, source);
  }
  return bank;
}

/// {site: {source: weight}}, means over rows.
nlohmann::json gates_of(const PemtRun& run, const routing::Pemt& pemt, const std::vector<training::RoutedRow>& rows) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [site, weights] : training::mean_gates(run.loaded.model, pemt, rows)) {
    auto& own = out[run.loaded.model.sites()[static_cast<std::size_t>(site)].name];
    for (std::int64_t k = 0; k < pemt.sources(); ++k)
      own[pemt.bank->names()[static_cast<std::size_t>(k)]] = weights[k].item<double>();
  }
  return out;
}

/// Sources by layers, as a table of shares.
void print_gates(const PemtRun& run, const routing::Pemt& pemt, const nlohmann::json& gates) {
  evaluation::TextTable table{{"site"}, {}};
  for (std::int64_t k = 0; k < pemt.sources(); ++k)
    table.header.push_back(pemt.bank->names()[static_cast<std::size_t>(k)]);
  for (const auto& site : run.loaded.model.sites()) {
    if (!gates.contains(site.name)) continue;
    auto& row = table.rows.emplace_back();
    row.push_back({site.name});
    for (std::size_t k = 1; k < table.header.size(); ++k)
      row.push_back({fmt::format("{:.2f}", gates[site.name][table.header[k]].get<double>())});
  }
  std::printf("%s", evaluation::render_table(table, {colour_wanted(), 1, 140}).c_str());
}

void report(const PemtRun& run, const std::string& name, const routing::Pemt& pemt,
            const training::RoutedResult& result, const nlohmann::json& gates) {
  const nlohmann::json figures{{"router", name},
                               {"sources", pemt.sources()},
                               {"steps", result.steps},
                               {"best_step", result.best_step},
                               {"tokens", result.tokens},
                               {"seconds", result.seconds},
                               {"train_loss", number_or_null(result.train_loss)},
                               {"first_validation_loss", number_or_null(result.first_validation)},
                               {"validation_loss", number_or_null(result.validation_loss)},
                               {"gates", gates}};
  if (run.json) return print_json(figures);
  std::printf("pemt:%s: validation loss %.3f (%.3f before), %lld steps; mean gates:\n", name.c_str(),
              result.validation_loss, result.first_validation, static_cast<long long>(result.steps));
  print_gates(run, pemt, gates);
}

}  // namespace

void train_pemt_targets(const PemtRun& run, Progress& progress) {
  const auto spec = spec_of(run.settings);
  const auto how = training_of(spec, run);
  const auto sources = sources_of(spec, run);
  std::vector<std::pair<std::string, std::vector<data::Task>>> targets;
  for (const auto& task : run.tasks) {
    if (run.name.empty() || targets.empty()) targets.push_back({run.name.empty() ? task.name : run.name, {}});
    targets.back().second.push_back(task);
  }
  for (const auto& [name, tasks] : targets) {
    library::check_expert_name(name);
    QUIVER_CHECK(run.replace || !routing::has_router(run.library, name), usage, "router " + name,
                 "the library has one of that name; choose another --name, or --replace it");
    const auto rows = [&](data::Split split, std::int64_t limit) {
      return labelled_rows(tasks, split, limit, run.options.join, *run.loaded.text.tokenizer);
    };
    const auto train = rows(data::Split::train, run.limit),
               validation = rows(data::Split::validation, run.validation_limit);
    auto pemt = training::start_pemt(run.loaded.model, sources, how, run.options.seed);
    const training::RoutedTraining training{run.loaded.model, run.options, progress, "pemt " + name};
    const auto result = training::train_pemt(training, pemt, how, train, validation);
    auto saved = routing::save_pemt(name, run.loaded.model, pemt);
    const auto gates = gates_of(run, pemt, validation.empty() ? train : validation);
    std::vector<std::string> learned;
    for (const auto& task : tasks) learned.push_back(task.name);
    saved.training = {{"tasks", learned},
                      {"steps", result.steps},
                      {"validation_loss", number_or_null(result.validation_loss)},
                      {"seconds", result.seconds},
                      {"gates", gates}};
    routing::save_router(run.library, saved);
    report(run, name, pemt, result, gates);
  }
}

}  // namespace quiver::cli
