// SPDX-License-Identifier: Apache-2.0
// Training every weight of a model: pre-training and full fine-tuning.
//
// A run's state (weights, AdamW's moments, step) is checkpointed into its folder; the rows of a step are a function of
// its number, so that a killed run goes on where it stood and ends with the same weights.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/model/trainable_model.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

struct FullTraining {
  TrainOptions options;  ///< lora, epochs, batch_rows and patience are not read; max_steps is the number of steps
  std::string title;     ///< of the progress
  std::string key;       ///< of what the rows are made from: a checkpoint of another key or options is refused
  fs::path folder;       ///< of checkpoints and metrics; created
  /// Each tensor's steps are as large as its root mean square (at least 1e-3) says, as Adafactor's are: the learning
  /// rate is then the relative change. T5's random start needs it: its embeddings are of deviation 1, its maps of a
  /// hundredth.
  bool relative_steps = false;
  bool keep_best = true;  ///< end with the weights of the least validation loss, not the last
};

struct FullResult {
  std::int64_t steps = 0, best_step = 0, tokens = 0;
  double seconds = 0.0;
  double train_loss = 0.0;                               ///< mean over the steps since the last validation
  double first_validation = 0.0, validation_loss = 0.0;  ///< NaN without validation rows
};

/// Minimises the mean cross-entropy of the rows' target tokens; trains `model` in place.
FullResult train_full(model::TrainableModel& model, const FullTraining& run,
                      const std::function<std::vector<data::TokenRow>(std::int64_t step)>& rows_of_step,
                      const std::vector<data::TokenRow>& validation, Progress& progress);

}  // namespace quiver::training
