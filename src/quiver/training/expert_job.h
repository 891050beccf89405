// SPDX-License-Identifier: Apache-2.0
// One expert to be trained: its rows, its weights in one flat vector, and how far it has come.
#pragma once

#include <ATen/core/Tensor.h>

#include <limits>
#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/data/join.h"
#include "quiver/training/adamw.h"

namespace quiver::training {

/// What an expert learns from.
struct ExpertData {
  std::string name;
  std::vector<std::string> tasks;
  std::vector<data::TokenRow> train, validation;
};

/// Hash over the name and all rows.
std::string data_key(const ExpertData& data);

/// The numbers of a run that a checkpoint carries.
struct JobProgress {
  std::int64_t step = 0;    ///< optimiser steps done
  std::int64_t tokens = 0;  ///< training tokens seen, prompts included
  double seconds = 0.0;     ///< spent in training steps
  double loss_sum = 0.0;    ///< of the steps since the last validation
  std::int64_t loss_steps = 0;
  double last_train_loss = std::numeric_limits<double>::quiet_NaN();
  double first_validation = std::numeric_limits<double>::quiet_NaN();  ///< before training
  double best_validation = std::numeric_limits<double>::quiet_NaN();
  std::int64_t best_step = 0;
  std::int64_t validations_since_best = 0;
  bool stopped_early = false;
};

class ExpertJob {
 public:
  /// Takes its start from `start`, whose factors are copied into one flat vector.
  ExpertJob(ExpertData data, const adapter::Adapter& start, const TrainOptions& options);

  const ExpertData& data() const { return data_; }
  /// The weights as the bank sees them: views of `parameters`, which require a gradient and collect it in `gradient`.
  const adapter::Adapter& adapter() const { return adapter_; }
  /// The weights that will be kept: the best so far, or the last where there is no validation.
  adapter::Adapter result() const;

  std::int64_t total_steps() const { return total_steps_; }
  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  bool finished() const { return progress.stopped_early || progress.step >= total_steps_; }
  /// Row numbers of the batch at the current step.
  std::vector<std::size_t> next_batch();
  /// A seed that belongs to this expert, from its name and the run's seed.
  std::uint64_t seed() const { return seed_; }
  void keep_as_best() { best_.copy_(parameters); }

  JobProgress progress;
  at::Tensor parameters;  ///< float32 [P]
  at::Tensor gradient;    ///< float32 [P]
  AdamW optimizer;
  const at::Tensor& best() const { return best_; }

 private:
  ExpertData data_;
  const TrainOptions* options_;
  std::uint64_t seed_;
  adapter::Adapter adapter_;
  at::Tensor best_;
  std::int64_t steps_per_epoch_ = 0, total_steps_ = 0;
  std::int64_t epoch_of_batches_ = -1;
  std::vector<std::vector<std::size_t>> batches_;
};

}  // namespace quiver::training
