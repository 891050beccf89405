// SPDX-License-Identifier: Apache-2.0
// Rows with their answers through the model, whatever its kind: one pass over both where one stack reads and writes,
// the prompts and then the answers in an encoder-decoder.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"

namespace quiver::model {

/// What is given, and what the model is to predict after it. Neither is empty.
struct AnswerRow {
  std::span<const std::int32_t> prompt, answer;
};

/// `hidden` with all that its backward pass reads.
struct AnswerPass {
  at::Tensor hidden;  ///< [N, D]: the state that predicts each token of the answers, row after row
  std::vector<std::unique_ptr<PackedBatch>> batches;
  std::vector<std::unique_ptr<ExpertSource>> experts;
};

/// Row i of a batch is request i to `bind` (null: the base model), which is asked once per batch.
AnswerPass answer_pass(const Model& model, const std::vector<AnswerRow>& rows, const BindExperts& bind,
                       Activations activations = Activations::keep);

/// Reads the prompts into `caches`, one each, and returns the state that predicts each answer's first token: [N, D].
at::Tensor read_prompts(const Model& model, const std::vector<std::span<const std::int32_t>>& prompts,
                        std::vector<RowCache>& caches, const BindExperts& bind);

}  // namespace quiver::model
