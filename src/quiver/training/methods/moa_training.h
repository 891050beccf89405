// SPDX-License-Identifier: Apache-2.0
// Training MoA's experts and classifiers together (arXiv 2403.03432): L = L_LM + eta L_cls.
//
// Each row runs under its own domain's expert (teacher forcing). At each place a linear classifier reads the prompt's
// pooled state; L_cls is the mean of their cross-entropies over places and rows, and its gradient reaches the experts
// of the layers before. Classifiers over experts that are there already are fitted instead (routing/fit_moa.h).
#pragma once

#include "quiver/adapter/adapter.h"
#include "quiver/routing/request/moa_router.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct MoaTraining {
  routing::MoaShape shape{.forced = true};  ///< places: layer or site
  double eta = 0.1;
  double classifier_learning_rate = 1e-3;
};

/// Trains `experts` in place, all of one shape; a row's label is the number of its expert. Validation is by L_LM alone,
/// every row under its own expert. Throws Error{unsupported} for `once`, and
/// with options.recompute.
Figures train_moa(const RoutedTraining& training, std::vector<adapter::Adapter>& experts,
                  routing::Classifiers& classifiers, const MoaTraining& how, const std::vector<RoutedRow>& train,
                  const std::vector<RoutedRow>& validation);

}  // namespace quiver::training
