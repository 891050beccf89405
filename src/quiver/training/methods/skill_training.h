// SPDX-License-Identifier: Apache-2.0
// Training skills and their selectors over many tasks at once (routing/skills.h): for each batch, one LoRA is composed
// for each of its tasks, and the rows run under them.
#pragma once

#include "quiver/base/random.h"
#include "quiver/routing/learned/skills.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

/// How a selector differs in training from evaluation.
struct SelectorNoise {
  bool relaxed_bernoulli = false;  ///< m = sigmoid(logit + logistic noise), temperature 1: explores skills
  bool straight_through = false;   ///< m rounded to 0 or 1, with the gradient of sigmoid; not with the noise
  double dropout = 0.0;            ///< share of m set to 0, the others scaled up, in [0, 1)
};

struct SkillTraining {
  SelectorNoise noise;
  bool train_selector = true, train_skills = true;
  double selector_learning_rate = 0.1;  ///< logits start near 0 and must reach a few units
  double skill_learning_rate = 1e-3;
};

/// m of logits in training. Draws from `random` whatever the options ask for.
at::Tensor noisy_use(const at::Tensor& logits, const routing::SkillOptions& options, const SelectorNoise& noise,
                     Random& random);

/// Trains what `how` says, in place; a row's label is its task's number in the set, its adapter's dropout that of
/// set.lora. Throws Error{usage} where nothing is to be trained.
Figures train_skills(const RoutedTraining& training, routing::SkillSet& set, const SkillTraining& how,
                     const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation);

/// The same skills, copied, with a fresh selector for one new task.
routing::SkillSet for_new_task(const routing::SkillSet& set, const std::string& task, std::uint64_t seed);

}  // namespace quiver::training
