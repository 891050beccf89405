// SPDX-License-Identifier: Apache-2.0
// What is trained: weights, and how the experts of a pass depend on them. The loop (loop.h) does all else.
//
// Several things that train side by side in one pass, as experts of a library do, are lanes of one objective: each has
// its own rows, schedule, optimiser, clipping, patience, checkpoint and best weights. Most objectives have one lane.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quiver/model/model.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/run_folder.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

/// Weights that train at one rate, under one clipping.
struct ParameterGroup {
  std::string name;            ///< in checkpoints
  at::Tensor values;           ///< any shape, float32; changed in place
  double learning_rate = 0.0;  ///< after warm-up
  /// Collects the gradients, of the shape of `values`; undefined: `values` is a leaf that requires a gradient.
  at::Tensor gradient = {};
  /// bool, of the shape of `values`: where weight decay applies. Undefined: everywhere in a matrix, nowhere in a vector
  /// (norms, biases).
  at::Tensor decays = {};
  /// Called after each step with the values before it.
  std::function<void(const at::Tensor& before)> stepped = nullptr;
};

struct Lane {
  std::string name;  ///< in errors and progress
  std::vector<ParameterGroup> groups;
  std::int64_t steps = 0;            ///< in all
  std::int64_t steps_per_epoch = 1;  ///< between validations where options.validate_every is 0
  /// The rows of a step, a function of its number alone: a run that was killed goes on to the same weights. Their
  /// token_weight is not read.
  std::function<std::vector<WeightedRow>(std::int64_t step)> rows;
  std::vector<WeightedRow> validation;
  RunFolder* run = nullptr;  ///< of checkpoints and metrics; null: neither is kept
};

/// Rows by epochs: lane.rows, steps and steps_per_epoch from these, `options` and a seed. `rows` are copied, what they
/// point to is not. options.max_steps caps the epochs. Throws Error{usage} without rows.
void train_by_epochs(Lane& lane, std::vector<WeightedRow> rows, const TrainOptions& options, std::uint64_t seed);

class Objective {
 public:
  virtual ~Objective() = default;
  virtual std::vector<Lane>& lanes() = 0;
  /// Called before the passes of a step and before each validation: what the passes share, or draw at random, begins
  /// anew, as a function of the step's number and the weights as they are.
  virtual void begin(std::int64_t step) { static_cast<void>(step); }
  virtual const model::Model& model() const = 0;
  /// Experts of the rows of a pass as the weights are now, which gradients can follow. Called once per pass; in
  /// training gradients are on (c10::GradMode).
  virtual model::BindExperts bind(const std::vector<WeightedRow>& rows) = 0;
  /// A loss of the rows bound last, whose answers' states are `hidden`, beside their cross-entropy; it counts by their
  /// share of the step's rows. Undefined: none.
  virtual at::Tensor extra_loss(const at::Tensor& hidden) {
    static_cast<void>(hidden);
    return {};
  }
  /// Why activations cannot be computed again in the backward pass; empty: they can.
  virtual std::string against_recompute() const { return {}; }
  /// True where the passes of a step share a part of their graph.
  virtual bool passes_share_graph() const { return false; }
};

}  // namespace quiver::training
