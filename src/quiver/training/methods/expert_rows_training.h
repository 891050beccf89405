// SPDX-License-Identifier: Apache-2.0
// What routes need of each expert's own data: mean inputs (average activation) and gates (PhatGoose).
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"
#include "quiver/routing/token/site_table.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct AverageActivationOptions {
  enum class Token { last, mean } token = Token::last;  ///< of each row: its last token (MTTL) or the mean of all
  bool base_only = false;                               ///< inputs of the base model alone, without the expert
};

/// Mean over `rows` of each site's input under the expert, [1 row per site] (MTTL's `hidden` transform; the paper's
/// CM).
routing::SiteTable average_activation(const model::Model& model, std::shared_ptr<const adapter::Bank> bank,
                                      std::int64_t expert, const std::vector<data::TokenRow>& rows,
                                      const AverageActivationOptions& options);

/// Gates of one expert, trained on its own rows with base and expert frozen: its output is scaled by sigmoid(v . x), v
/// starting at 0. MTTL: 100 steps, rate 1e-3, 4 rows a step.
routing::SiteTable train_phatgoose_gates(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank,
                                         std::int64_t expert, double learning_rate, const std::vector<RoutedRow>& rows);

}  // namespace quiver::training
