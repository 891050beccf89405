// SPDX-License-Identifier: Apache-2.0
// quiver train --method pemt: a target task over source experts of the library.
#include "quiver/base/error.h"
#include "quiver/cli/train_targets.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/training/methods/pemt_training.h"

namespace quiver::cli {
namespace {

training::PemtTraining training_of(const routing::RouteSpec& spec, const TargetRun& run) {
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

/// Throws Error{usage} where a source is not of the kind that `experts` says.
void check_sources(const adapter::Bank& sources, const routing::RouteSpec& spec) {
  const bool bottlenecks = routing::choice_of(spec, "experts", {"lora", "bottleneck"}, "lora") == 1;
  for (std::int64_t k = 0; k < sources.size(); ++k) {
    bool factors = false;
    for (std::int64_t s = 0; s < static_cast<std::int64_t>(sources.model_sites().size()); ++s)
      factors = factors || sources.site(s).experts[static_cast<std::size_t>(k)].a.defined();
    QUIVER_CHECK(factors != bottlenecks, usage, "--set experts", "expert '{}' is {}; say experts={}",
                 sources.names()[static_cast<std::size_t>(k)], bottlenecks ? "LoRA" : "not LoRA",
                 bottlenecks ? "lora" : "bottleneck");
  }
}

/// {site: {source: weight}}, means over rows.
nlohmann::json gates_of(const TargetRun& run, const routing::Pemt& pemt, const std::vector<training::RoutedRow>& rows) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [site, weights] : training::mean_gates(run.loaded.model, pemt, rows)) {
    auto& own = out[run.loaded.model.sites()[static_cast<std::size_t>(site)].name];
    for (std::int64_t k = 0; k < pemt.sources(); ++k)
      own[pemt.bank->names()[static_cast<std::size_t>(k)]] = weights[k].item<double>();
  }
  return out;
}

/// Sources by layers, as a table of shares.
std::string gate_table(const TargetRun& run, const routing::Pemt& pemt, const nlohmann::json& gates) {
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
  return "mean gates:\n" + evaluation::render_table(table, {colour_wanted(), 1, 140});
}

}  // namespace

Learned learn_pemt(const TargetRun& run, const routing::RouteSpec& settings, const Target& target, Progress& progress) {
  const auto how = training_of(settings, run);
  const auto sources = sources_of(run, settings);
  check_sources(sources, settings);
  auto pemt = training::start_pemt(run.loaded.model, sources, how, run.options.seed);
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "pemt " + target.name};
  Learned out;
  out.result = training::train_pemt(training, pemt, how, target.train, target.validation);
  out.router = routing::save_pemt(target.name, run.loaded.model, pemt);
  const auto gates = gates_of(run, pemt, target.validation.empty() ? target.train : target.validation);
  out.more = {{"sources", pemt.sources()}, {"gates", gates}};
  out.table = gate_table(run, pemt, gates);
  if (settings.flag("fold", false))
    out.experts.push_back({target.name, task_names(target), routing::folded(run.loaded.model, pemt)});
  return out;
}

}  // namespace quiver::cli
