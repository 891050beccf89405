// SPDX-License-Identifier: Apache-2.0
// quiver train --method adamix: copies of an adapter that become one; --method moa: experts with the classifiers that
// choose among them; --method fusion: experts of the library by an attention at each site.
#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/cli/train_targets.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/training/methods/adamix.h"
#include "quiver/training/methods/fusion_training.h"
#include "quiver/training/methods/moa_training.h"

namespace quiver::cli {

Learned learn_adamix(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                     Progress& progress) {
  using Share = training::AdaMixOptions::Share;
  training::AdaMixOptions how;
  how.copies = static_cast<std::int64_t>(settings.number("copies", static_cast<double>(how.copies)));
  constexpr std::array kShares{Share::second, Share::first, Share::none};
  how.share = kShares.at(routing::choice_of(settings, "share", {"second", "first", "none"}, "second"));
  how.consistency = settings.number("consistency", how.consistency);
  const auto start = [&](std::int64_t copy) {
    const auto seed = derive_seed(run.options.seed, static_cast<std::uint64_t>(copy));
    return adapter::make_adapter(run.loaded.model, run.options.lora, run.options.kind, seed);
  };
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "adamix " + target.name};
  Learned out;
  auto expert = training::train_adamix(training, how, start, target.train, target.validation, out.result);
  out.experts.push_back({target.name, task_names(target), std::move(expert)});
  return out;
}

/// Experts in the order of their names, as a library's bank has them.
Learned learn_moa(const TargetRun& run, const routing::RouteSpec& settings, const Target& target, Progress& progress) {
  training::MoaTraining how;
  how.eta = settings.number("eta", how.eta);
  how.classifier_learning_rate = settings.number("rate", how.classifier_learning_rate);
  how.shape.places =
      static_cast<routing::MoaPlaces>(routing::choice_of(settings, "places", {"layer", "site"}, "layer"));
  how.shape.pooling =
      static_cast<routing::Pooling>(routing::choice_of(settings, "pooling", {"last", "mean", "first"}, "last"));
  const auto tasks = task_names(target);
  auto names = tasks;
  std::sort(names.begin(), names.end());
  std::vector<adapter::Adapter> experts;
  for (std::size_t e = 0; e < names.size(); ++e) {
    library::check_expert_name(names[e]);
    QUIVER_CHECK(run.replace || !run.library.contains(names[e]), usage, "expert " + names[e],
                 "the library has one of that name; give another --library, or --replace it");
    experts.push_back(
        adapter::make_adapter(run.loaded.model, run.options.lora, run.options.kind, derive_seed(run.options.seed, e)));
  }
  const auto by_expert = [&](std::vector<training::RoutedRow> rows) {
    for (auto& row : rows) {
      const auto found = std::find(names.begin(), names.end(), tasks[static_cast<std::size_t>(row.label)]);
      row.label = found - names.begin();
    }
    return rows;
  };
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "moa"};
  Learned out;
  routing::Classifiers classifiers;
  out.result =
      training::train_moa(training, experts, classifiers, how, by_expert(target.train), by_expert(target.validation));
  for (std::size_t e = 0; e < names.size(); ++e) out.experts.push_back({names[e], {names[e]}, std::move(experts[e])});
  out.router = routing::save_moa(target.name, names, how.shape, classifiers);
  return out;
}

Learned learn_fusion(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                     Progress& progress) {
  training::FusionTraining how;
  how.temperature = settings.number("temperature", how.temperature);
  how.regularisation = settings.number("regularisation", how.regularisation);
  const auto bank = std::make_shared<const adapter::Bank>(sources_of(run, settings));
  auto fusion = training::start_fusion(run.loaded.model, *bank, how, run.options.seed);
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "fusion " + target.name};
  Learned out;
  out.result = training::train_fusion(training, bank, fusion, how, target.train, target.validation);
  out.router = routing::save_fusion(target.name, run.loaded.model, *bank, fusion);
  return out;
}

}  // namespace quiver::cli
