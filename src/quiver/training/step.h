// SPDX-License-Identifier: Apache-2.0
// The gradients of one step: rows of one or several experts in one pass, each row under its own expert.
#pragma once

#include <memory>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/model/model.h"
#include "quiver/training/expert_job.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver::training {

/// The rows of a step. Those of one expert stand side by side.
struct StepRows {
  std::vector<WeightedRow> rows;
  std::vector<TrainingRow> experts;  ///< one per row
  std::int64_t tokens = 0;

  /// Adds the next batch of `job`, which is number `expert` of the bank, each row weighted by its share of the job's
  /// mean loss; sets the job's gradient to zero. Returns the tokens added.
  std::int64_t take(std::int64_t expert, ExpertJob& job);
};

/// Adds to each expert's gradient that of its mean loss over its rows, in portions of options.micro_tokens, and returns
/// the losses by expert number of the bank (0 where an expert has no row).
std::vector<double> accumulate_gradients(const model::Model& model, const std::shared_ptr<const adapter::Bank>& bank,
                                         const StepRows& step, const TrainOptions& options);

/// Tokens of the row that are targets.
std::int64_t target_tokens(const data::TokenRow& row);

}  // namespace quiver::training
