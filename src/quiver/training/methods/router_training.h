// SPDX-License-Identifier: Apache-2.0
// Training routers over a library whose experts stay as they are.
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"
#include "quiver/routing/learned/learned_gates.h"
#include "quiver/routing/learned/weight_router.h"
#include "quiver/routing/saved_router.h"
#include "quiver/routing/token/token_router.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct RouterOptions {
  enum class Kind { gates, weights, xlora } kind = Kind::gates;
  double learning_rate = 1e-2;

  // gates: a score per token, site and expert
  routing::GateShape gate;
  routing::Norm input_norm = routing::Norm::layer;
  routing::TokenMixOptions mix{.top_k = 0, .temperature = 0.0};
  /// Losses of the gates' shares p [T, E] at each site, averaged over sites, times these factors.
  double balance =
      0.0;  ///< E * sum_e f_e mean_t p_te, f_e the share of tokens whose best is e (Switch, arXiv 2101.03961)
  double mutual_information =
      0.0;         ///< -H(mean_t p_t) + mean_t H(p_t): sure of each token, even over all (MTTL's moe_ent_reg)
  double z = 0.0;  ///< mean_t (log sum exp scores)^2 (ST-MoE, arXiv 2202.08906)

  // weights: a weight per place and expert
  routing::PlaceWeights places;  ///< values are not read; they start at 1/E

  // xlora: a network on the final hidden states
  int depth = 1;
  std::int64_t width = 128;  ///< of its inner layers
  bool per_site = true;
};

/// Trains on the rows and returns the router, ready to be saved as `name`. The bank's experts become its experts.
routing::SavedRouter train_router(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank,
                                  const RouterOptions& options, const std::string& name,
                                  const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation);

/// The three losses of shares at one site, for tests: scores [T, E] already divided by the temperature.
at::Tensor gate_losses(const at::Tensor& scores, const RouterOptions& options);

}  // namespace quiver::training
