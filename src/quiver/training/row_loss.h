// SPDX-License-Identifier: Apache-2.0
// The language-model loss of packed rows at their target positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "quiver/data/join.h"
#include "quiver/model/answer_pass.h"

namespace quiver::training {

/// Rows with the factor that each of their target tokens has in the loss.
struct WeightedRow {
  const data::TokenRow* row = nullptr;
  double token_weight = 1.0;
};

std::vector<model::AnswerRow> answer_rows(const std::vector<WeightedRow>& rows);

/// sum over rows and target tokens of token_weight * -log p(token | tokens before), float32, differentiable. `hidden`
/// are the states of model::answer_pass over the same rows.
at::Tensor weighted_loss(const model::Model& model, const at::Tensor& hidden, const std::vector<WeightedRow>& rows);

/// Portions of consecutive rows of about `micro_tokens` tokens, at least one row each.
std::vector<std::vector<WeightedRow>> portions(const std::vector<WeightedRow>& rows, std::int64_t micro_tokens);

}  // namespace quiver::training
