// SPDX-License-Identifier: Apache-2.0
// How an expert is trained.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quiver/adapter/kinds.h"
#include "quiver/base/options.h"
#include "quiver/data/batching.h"
#include "quiver/data/join.h"

namespace quiver::training {

enum class Schedule { constant, linear, cosine };

struct TrainOptions {
  adapter::LoraOptions lora;
  adapter::KindOptions kind;
  data::JoinOptions join;

  // What changes the result.
  std::int64_t epochs = 2;
  std::int64_t max_steps = 0;      ///< stop after this many optimiser steps; 0: after the epochs
  std::int64_t batch_rows = 16;    ///< rows per optimiser step
  std::int64_t length_window = 4;  ///< batches per window of rows of like length (data::BatchOptions)
  bool shuffle = true;
  double learning_rate = 2e-3;  ///< at the end of warm-up. LoRA of rank 4 to 16 on a 135M model likes 1e-3 to 4e-3
  double warmup = 0.06;         ///< share of all steps with a linearly growing rate
  Schedule schedule = Schedule::linear;               ///< after warm-up: to 0 linearly or along a cosine, or constant
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< of AdamW
  double weight_decay = 0.0;                          ///< of matrices; norms, biases and scales are spared
  double clip = 1.0;                                  ///< largest norm of an expert's gradient; 0: no clipping
  std::uint64_t seed = 0;                             ///< each expert draws from its own streams of it, by its name
  std::int64_t validate_every = 0;                    ///< steps between validations; 0: once an epoch
  std::int64_t patience = 0;  ///< validations without a new best before an expert stops early; 0: never

  // What changes only time and memory.
  std::int64_t micro_tokens =
      4096;                ///< a step's rows are computed in portions of about this many tokens (accumulation)
  bool recompute = false;  ///< keep only the layers' inputs and compute them again in the backward pass: a quarter to a
                           ///< third more time, activations of one layer instead of all
  double checkpoint_seconds = 30.0;  ///< between checkpoints
};

/// epochs, max_steps, batch, learning_rate, warmup, schedule, weight_decay, clip, seed, validate_every, patience,
/// recompute, micro_tokens, checkpoint_seconds, no_shuffle. lora, kind and join are described by their own.
void describe(TrainOptions& options, OptionSet& set);
/// learning_rate, warmup and schedule alone; help: of learning_rate.
void describe_rate(TrainOptions& options, OptionSet& set, const std::string& help);

/// Throws Error{usage} naming the option of the description that is out of range.
void check(const TrainOptions& options);

/// Everything that changes the result, for expert.json and for telling whether a checkpoint belongs to a run.
nlohmann::json to_json(const TrainOptions& options);
nlohmann::json to_json(const data::JoinOptions& options);

/// The rate of step `step` (from 0) of `total` where it is `rate` after warm-up.
double learning_rate_at(const TrainOptions& options, double rate, std::int64_t step, std::int64_t total);

}  // namespace quiver::training
