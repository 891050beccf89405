// SPDX-License-Identifier: Apache-2.0
// What regimes of adaptation have in common: one adapter tuned on a few rows, weights of experts learnt per site.
#pragma once

#include "quiver/training/adaptation/adaptation.h"

namespace quiver::training {

/// Mean cross-entropy of the rows under the adapter.
double loss_under(const model::Model& model, const adapter::Adapter& adapter, const std::vector<data::TokenRow>& rows);

/// `start` after options.max_steps steps on the rows, the epochs being enough for them.
adapter::Adapter tuned(const AdaptInputs& inputs, const adapter::Adapter& start, const ExpertData& examples,
                       const TrainOptions& options);

/// Experts under weights of their own at each site: y += sum_e w[site,e] s_e B_e A_e x.
struct WeightedExperts {
  std::shared_ptr<const adapter::Bank> bank;
  at::Tensor weights;  ///< float32 [sites, E]; gradients reach it and the bank's factors
};
std::unique_ptr<model::ExpertSource> bind_weighted(const WeightedExperts& experts, const model::PackedBatch& batch);

/// Learns the weights from 1/E on, with `experts_too` the experts as well (from copies). The bank returned holds what
/// the experts became.
WeightedExperts learn_weights(const AdaptInputs& inputs, const ExpertData& examples, const AdaptOptions& options,
                              bool experts_too);

/// The mean weight that Arrow gives each expert at each site over the tokens of the rows, [sites, E].
at::Tensor mean_arrow_weights(const AdaptInputs& inputs, const std::vector<data::TokenRow>& rows);

}  // namespace quiver::training
