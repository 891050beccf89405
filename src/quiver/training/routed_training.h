// SPDX-License-Identifier: Apache-2.0
// Training whatever decides how experts apply: gates, selectors, mixture weights, shared skills.
//
// The base is frozen. The caller says which weights there are and how they bind experts to a batch, as a function of
// those weights that gradients can follow; this is the loop around it: batches, schedule, AdamW, validation, the best
// weights kept.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

/// Weights that train at one rate.
struct ParameterGroup {
  std::string name;
  at::Tensor values;           ///< any shape, float32, a leaf that requires a gradient
  double learning_rate = 0.0;  ///< after warm-up
};

/// A row and what the caller needs to bind it: its task's number, say.
struct RoutedRow {
  data::TokenRow row;
  std::int64_t label = 0;
};

struct RoutedTraining {
  model::Model model;
  const TrainOptions& options;  ///< learning_rate and lora are not read
  Progress& progress;
  std::string title;
};

/// Experts for a batch whose row i has label labels[i]. Called anew for each batch, with gradients on in training.
using BindLabels = std::function<std::unique_ptr<model::ExpertSource>(const model::PackedBatch&,
                                                                      const std::vector<std::int64_t>& labels)>;

/// The same where experts also bring vectors before the prompts, or share something between the passes over a batch.
using StartLabels = std::function<model::BindExperts(const std::vector<std::int64_t>& labels)>;

struct RoutedResult {
  std::int64_t steps = 0, best_step = 0, tokens = 0;
  double seconds = 0.0;
  double train_loss = 0.0;                               ///< mean over the last epoch's steps
  double first_validation = 0.0, validation_loss = 0.0;  ///< NaN without validation rows
};

/// For router.json, expert.json and --json; NaN as null.
nlohmann::json to_json(const RoutedResult& result);

/// A loss (balance, entropy) of the rows that the last call of `bind` served, whose answers' states are `hidden`, as
/// model::answer_pass has them; undefined: none.
using ExtraLoss = std::function<at::Tensor(const at::Tensor& hidden)>;

/// Minimises the mean cross-entropy of the rows' target tokens plus `extra` (may be null), weighted by the rows' share
/// of the batch. Each group has its own AdamW and clipping. Afterwards the groups hold the weights with the least
/// validation loss, or the last ones where there are no validation rows.
RoutedResult train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                          const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                          const BindLabels& bind, const ExtraLoss& extra = nullptr);
RoutedResult train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                          const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                          const StartLabels& start, const ExtraLoss& extra = nullptr);

}  // namespace quiver::training
