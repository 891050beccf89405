// SPDX-License-Identifier: Apache-2.0
// quiver train --method adamix: copies of an adapter that become one; --method fusion: experts of the library by an
// attention at each site.
#include "quiver/base/random.h"
#include "quiver/cli/train_targets.h"
#include "quiver/routing/route_entry.h"
#include "quiver/training/adamix.h"
#include "quiver/training/fusion_training.h"

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
  out.expert = training::train_adamix(training, how, start, target.train, target.validation, out.result);
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
