// SPDX-License-Identifier: Apache-2.0
// Training prompts of vectors that belong to several tasks: ATTEMPT's target over source prompts, and multitask prompt
// tuning's shared prompt.
#pragma once

#include "quiver/adapter/adapter.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct AttemptTraining {
  std::int64_t width = 100;            ///< of the attention's inner layer
  double temperature = 0.0;            ///< 0: D times e, the authors'
  double attention_learning_rate = 0;  ///< 0: that of the prompt
  bool norm = false;                   ///< train the attention's norm too; the authors leave it
};

/// A target that starts as the first source's prompt. Throws Error{usage} where sources have no prompts or their
/// lengths differ.
routing::Attempt start_attempt(const adapter::Bank& sources, const AttemptTraining& how, std::uint64_t seed);

/// Trains the target's prompt and the attention in place; the sources stay.
Figures train_attempt(const RoutedTraining& training, routing::Attempt& attempt, const AttemptTraining& how,
                      const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation);

/// Multitask prompt tuning's first stage without its teachers, as PEFT has it: one prompt for all tasks, and each
/// task's factors (kind mpt), in place. A row's label is its task's number.
Figures train_task_prompts(const RoutedTraining& training, adapter::Adapter& prompts,
                           const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation);

}  // namespace quiver::training
