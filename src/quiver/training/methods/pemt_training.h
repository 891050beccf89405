// SPDX-License-Identifier: Apache-2.0
// Training PEMT's second stage: the target's prompt, gates, bottlenecks and norms over sources that stay as they are.
#pragma once

#include <map>

#include "quiver/routing/prompts/pemt.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct PemtTraining {
  routing::PemtOptions options;
  double sparsity_weight = 0.1;
  bool layer_norms = true;  ///< train the weights of all norms
  std::int64_t width = 48;  ///< of the target's bottlenecks
  std::int64_t prompt_tokens =
      20;  ///< of the target's prompt, which starts as embeddings of `prompt_ids`, else of random tokens
  std::vector<std::int32_t> prompt_ids;
};

/// The target at its start over the experts of `sources`: gates 0, bottlenecks normal of deviation 0.01. Gated are the
/// sites that every source touches. Throws Error{unsupported} where there is none.
routing::Pemt start_pemt(const model::Model& model, const adapter::Bank& sources, const PemtTraining& how,
                         std::uint64_t seed);

/// Trains the target in place at training.options.learning_rate; the mean cross-entropy plus sparsity_weight times the
/// sparsity. Losses of validation are cross-entropies alone.
Figures train_pemt(const RoutedTraining& training, routing::Pemt& pemt, const PemtTraining& how,
                   const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation);

/// The gates over rows, averaged: by site [K]. Empty without rows.
std::map<std::int64_t, at::Tensor> mean_gates(const model::Model& model, const routing::Pemt& pemt,
                                              const std::vector<RoutedRow>& rows);

}  // namespace quiver::training
