// SPDX-License-Identifier: Apache-2.0
// The training loop: steps, schedule, AdamW, clipping, validation, patience, best weights, checkpoints and metrics of
// an objective (objective.h), by the same rules for every method.
//
// * A lane trains for lane.steps steps, or until options.patience validations in a row found no better weights.
// * What is kept are the weights of the least validation loss, those before training among them; without validation
//   rows that count (weight above 0) the last ones. The groups hold them at the end, and the figures say which.
// * Rows of weight 0 are not computed; a step of none but such rows has the loss 0 and no gradient.
// * A loss or weights that are not finite end the lane with Error{mismatch}, and its checkpoint goes: there is nothing
//   to go on from. Of several lanes the others go on; what failed is said at once, and named at the end (failures.h).
// * A lane with a run folder is checkpointed every options.checkpoint_seconds and at its end, and goes on from a
//   checkpoint of the same key to the same weights. The checkpoint stays until RunFolder::drop_checkpoint, also where
//   keeping the result fails.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/ops/adamw.h"
#include "quiver/training/failures.h"
#include "quiver/training/figures.h"
#include "quiver/training/objective.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

class Loop {
 public:
  /// All must outlive the loop. Throws Error{unsupported} where the objective cannot be recomputed and `options` ask
  /// for it, Error{usage} as check(options). title: of the progress.
  Loop(Objective& objective, const TrainOptions& options, Progress& progress, std::string title);

  /// Called when a lane has ended and its groups hold what is kept.
  using Ended = std::function<void(std::size_t lane, const Figures& figures)>;
  /// Trains all lanes to their ends; figures by lane.
  std::vector<Figures> run(const Ended& ended = nullptr);

  /// One step of these lanes in one pass, without validation. Returns the tokens of its rows.
  std::int64_t step(const std::vector<std::size_t>& lanes);

 private:
  using Clock = std::chrono::steady_clock;
  struct State {
    Figures figures;
    std::vector<ops::AdamW> optimizers;  ///< by group
    std::vector<at::Tensor> best;        ///< by group; empty without validation
    double loss_sum = 0.0;               ///< of the steps since the last validation
    std::int64_t loss_steps = 0;
    std::int64_t validations_since_best = 0;
    bool validates = false;
    bool ended = false;
    bool failed = false;  ///< and so ended
    Clock::time_point checkpointed = Clock::now();
  };

  Lane& lane(std::size_t i) { return objective_.lanes()[i]; }
  void start(std::size_t i);
  bool restore(std::size_t i);
  void checkpoint(std::size_t i);
  std::vector<std::size_t> active() const;
  std::vector<double> accumulate(const std::vector<WeightedRow>& rows);
  void backward(const at::Tensor& hidden, const std::vector<WeightedRow>& portion, double share,
                std::vector<double>& losses);
  double apply_gradients(std::size_t i);
  void count(std::size_t i, double loss, double norm, std::int64_t tokens, double seconds);
  void show(const std::string& note);
  double validate(std::size_t i);
  void after_step(std::size_t i);
  void compare(std::size_t i, double loss);
  void end(std::size_t i, const Ended& ended);
  void fail(std::size_t i, const Error& error);
  std::string note(std::size_t i);

  Objective& objective_;
  const TrainOptions& options_;
  Progress& progress_;
  std::string title_;
  std::vector<State> states_;
  Failures failures_;
};

}  // namespace quiver::training
