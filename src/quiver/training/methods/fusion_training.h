// SPDX-License-Identifier: Apache-2.0
// Training AdapterFusion's queries, keys and values over experts that stay as they are.
#pragma once

#include "quiver/routing/learned/fusion.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct FusionTraining {
  double temperature = 1.0;
  double regularisation = 0.01;  ///< times the sum over sites of |V - I|^2
};

/// Q and K as torch's Linear starts, V the identity, at every site that an expert touches. Throws as check_fusable
/// does.
routing::Fusion start_fusion(const model::Model& model, const adapter::Bank& bank, const FusionTraining& how,
                             std::uint64_t seed);

Figures train_fusion(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank, routing::Fusion& fusion,
                     const FusionTraining& how, const std::vector<RoutedRow>& train,
                     const std::vector<RoutedRow>& validation);

}  // namespace quiver::training
