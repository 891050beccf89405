// SPDX-License-Identifier: Apache-2.0
// Training experts over the frozen base: one, or several at once, by the same code.
//
// Each step takes every unfinished expert's next batch, packs the rows of all of them side by side, and runs them
// through the base once, each row under its own expert. An expert's loss is the mean cross-entropy over the target
// tokens of its own rows, so its gradient is the one it would have alone; its optimiser, schedule, clipping, dropout
// and data order are its own too.
#pragma once

#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/library/library.h"
#include "quiver/model/model.h"
#include "quiver/training/expert_job.h"

namespace quiver::training {

struct TrainedExpert {
  std::string name;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double tokens_per_second = 0.0;
  double train_loss = 0.0;       ///< mean over the steps of the last interval between validations
  double validation_loss = 0.0;  ///< best; NaN without validation rows
  fs::path path;                 ///< the expert's folder
  bool already_there = false;    ///< the library had it, trained with the same options on the same rows
};

struct TrainRequest {
  model::Model model;
  const library::Library& library;
  const TrainOptions& options;
  Progress& progress;
  bool replace = false;                     ///< overwrite an expert of the same name that was trained otherwise
  const adapter::Adapter* start = nullptr;  ///< null: a fresh LoRA
};

/// Trains the experts together and adds each to the library when it is done. Interrupted runs go on from their
/// checkpoints. Throws Error{usage} where a name is taken by another expert.
std::vector<TrainedExpert> train_experts(const TrainRequest& request, std::vector<ExpertData> experts);

/// Mean cross-entropy over the target tokens of `rows` under expert `expert` of `bank` (none: < 0).
double mean_loss(const model::Model& model, std::shared_ptr<const adapter::Bank> bank, std::int64_t expert,
                 const std::vector<data::TokenRow>& rows);

}  // namespace quiver::training
