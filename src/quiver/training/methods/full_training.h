// SPDX-License-Identifier: Apache-2.0
// Training every weight of a model: pre-training and full fine-tuning.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/model/trainable_model.h"
#include "quiver/training/figures.h"
#include "quiver/training/objective.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

struct FullTraining {
  const TrainOptions& options;  ///< lora and kind are not read
  std::string title;            ///< of the progress
  RunFolder* run = nullptr;     ///< of checkpoints and metrics; null: neither is kept
  /// Each tensor's steps are as large as its root mean square (at least 1e-3) says, as Adafactor's are: the learning
  /// rate is then the relative change. T5's random start needs it: its embeddings are of deviation 1, its maps of a
  /// hundredth.
  bool relative_steps = false;
};

/// Minimises the mean cross-entropy of the rows' target tokens; trains `model` in place.
Figures train_full(model::TrainableModel& model, const FullTraining& training, const std::vector<data::TokenRow>& train,
                   const std::vector<data::TokenRow>& validation, Progress& progress);

/// The same over rows that are made for each step, a function of its number alone, for options.max_steps steps.
Figures train_full(model::TrainableModel& model, const FullTraining& training,
                   const std::function<std::vector<data::TokenRow>(std::int64_t step)>& rows_of_step,
                   const std::vector<data::TokenRow>& validation, Progress& progress);

}  // namespace quiver::training
