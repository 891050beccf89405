// SPDX-License-Identifier: Apache-2.0
// The language-model loss of packed rows at their target positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "quiver/data/join.h"
#include "quiver/model/answer_pass.h"

namespace quiver::training {

/// A row of a pass, with the factor that each of its target tokens has in the loss.
struct WeightedRow {
  const data::TokenRow* row = nullptr;
  double token_weight = 1.0;
  std::int64_t label = 0;  ///< what binds it: its task's number, its expert's
  std::uint64_t seed = 0;  ///< of what is drawn for it in training (dropout)
  std::size_t lane = 0;    ///< what it trains (objective.h)
};

/// How experts apply to the rows of one pass.
using BindRows = std::function<model::BindExperts(const std::vector<WeightedRow>& rows)>;

/// Called with how many of the rows are computed.
using RowsDone = std::function<void(std::size_t rows, std::size_t all)>;

/// Tokens of the row that are learned.
std::int64_t target_tokens(const data::TokenRow& row);

/// Sum over rows of weight times target tokens, which a mean loss is divided by; 0: nothing counts.
double weighted_targets(const std::vector<WeightedRow>& rows);

std::vector<model::AnswerRow> answer_rows(const std::vector<WeightedRow>& rows);

/// sum over rows and target tokens of token_weight * -log p(token | tokens before), float32, differentiable. `hidden`
/// are the states of model::answer_pass over the same rows.
at::Tensor weighted_loss(const model::Model& model, const at::Tensor& hidden, const std::vector<WeightedRow>& rows);

/// Portions of consecutive rows of about `micro_tokens` tokens, at least one row each.
std::vector<std::vector<WeightedRow>> portions(const std::vector<WeightedRow>& rows, std::int64_t micro_tokens);

/// Mean cross-entropy over the target tokens of the rows, each token weighted as its row; rows of weight 0 are not
/// computed. NaN where none counts. Without gradients; token_weight is not read.
double mean_loss(const model::Model& model, const std::vector<WeightedRow>& rows, const BindRows& bind,
                 const RowsDone& done = nullptr);

}  // namespace quiver::training
