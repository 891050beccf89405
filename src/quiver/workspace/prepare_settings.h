// SPDX-License-Identifier: Apache-2.0
// What `prepare --route NAME:key=value,...` may set of each route.
#pragma once

#include "quiver/base/options.h"
#include "quiver/data/tfidf.h"
#include "quiver/routing/request/moa_router.h"
#include "quiver/training/methods/expert_rows_training.h"
#include "quiver/training/methods/router_training.h"

namespace quiver::workspace {

struct PhatgooseSettings {
  std::int64_t steps = 100;  ///< MTTL's
  double learning_rate = 1e-3;
};
void describe(PhatgooseSettings& settings, OptionSet& set);

struct MoaSettings {
  routing::MoaShape shape;
  routing::DomainClassifierOptions classifier;
};
void describe(MoaSettings& settings, OptionSet& set);

// Routers that are trained. Each describes what its kind reads and nothing else; molora is gates of two experts, soup
// weights by a softmax.
training::RouterOptions gates_settings();
training::RouterOptions molora_settings();
training::RouterOptions rkhs_settings();
training::RouterOptions product_keys_settings();
training::RouterOptions weights_settings();
training::RouterOptions soup_settings();
training::RouterOptions xlora_settings();

}  // namespace quiver::workspace

namespace quiver::training {
void describe(RouterOptions& options, OptionSet& set);
void describe(AverageActivationOptions& options, OptionSet& set);
}  // namespace quiver::training

namespace quiver::data {
void describe(TfidfOptions& options, OptionSet& set);
}  // namespace quiver::data
