// SPDX-License-Identifier: Apache-2.0
// Training whatever decides how experts apply, or is shared between tasks: gates, selectors, mixture weights, skills,
// prompts. The base is frozen. The caller says which weights there are and how they bind experts to the rows of a pass;
// this makes an objective of one lane of it and runs the loop.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/model/model.h"
#include "quiver/training/figures.h"
#include "quiver/training/objective.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

/// A row and what the caller needs to bind it: its task's number, say.
struct RoutedRow {
  data::TokenRow row;
  std::int64_t label = 0;
};

struct RoutedTraining {
  model::Model model;
  const TrainOptions& options;  ///< learning_rate is not read: groups have their own
  Progress& progress;
  std::string title;
  RunFolder* run = nullptr;  ///< of checkpoints and metrics; null: neither is kept
};

/// How weights bind experts, and what else the method needs of the loop; see Objective.
struct RoutedMethod {
  BindRows bind;
  std::function<at::Tensor(const at::Tensor& hidden)> extra_loss = nullptr;
  std::function<void(std::int64_t step)> begin = nullptr;
  std::string against_recompute = {};
};

/// Minimises the mean cross-entropy of the rows' target tokens plus the extra loss. Each group has its own AdamW and
/// clipping. Afterwards the groups hold the weights that are kept.
Figures train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                     const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                     const RoutedMethod& method);

}  // namespace quiver::training
