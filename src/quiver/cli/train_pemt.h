// SPDX-License-Identifier: Apache-2.0
// quiver train --method pemt: a target task over source experts of the library.
#pragma once

#include "quiver/cli/common.h"
#include "quiver/training/train_options.h"

namespace quiver::cli {

struct PemtRun {
  const LoadedModel& loaded;
  const library::Library& library;
  const std::vector<data::Task>& tasks;
  training::TrainOptions options;     ///< kind.width and kind.prompt_tokens are the target's
  std::vector<std::string> settings;  ///< key=value, as --set has them
  std::string name, prompt_text;
  std::int64_t limit = 0, validation_limit = 0;
  bool replace = false, json = false;
};

/// One target per task, or one of that name over all of them, kept as routers of the library.
void train_pemt_targets(const PemtRun& run, Progress& progress);

}  // namespace quiver::cli
