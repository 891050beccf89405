// SPDX-License-Identifier: Apache-2.0
// quiver train --method full: every weight of the model, into a folder of its own.
#pragma once

#include "quiver/cli/common.h"
#include "quiver/training/train_options.h"

namespace quiver::cli {

struct FullRun {
  std::string model;   ///< as --model has it
  std::string output;  ///< a Hugging Face folder
  training::TrainOptions options;
  std::int64_t limit = 0, validation_limit = 0;
  bool json = false;
};

/// One model over all tasks.
void train_full_model(const FullRun& run, const LoadedModel& loaded, const std::vector<data::Task>& tasks,
                      Progress& progress);

}  // namespace quiver::cli
