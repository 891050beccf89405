// SPDX-License-Identifier: Apache-2.0
// Adaptation: an adapter for a new task from a few examples, by what a library already knows.
//
// Whatever a regime learns (a LoRA, a selector over skills, weights of experts), it comes to one adapter, so that the
// result is applied, compared and kept like any expert.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/clustering/retrieval.h"
#include "quiver/library/library.h"
#include "quiver/training/adaptation/lorahub.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/methods/skill_training.h"

namespace quiver::training {

struct AdaptOptions {
  /// Steps (max_steps; epochs are not read), batch and rate of what is tuned; lora: of fresh adapters; seed: of all
  /// that is drawn.
  TrainOptions train;
  std::string start = "shared";  ///< the expert that `shared` goes on from
  std::string skills = "poly";   ///< the library's router that the poly regimes go on from
  SkillTraining skill_training;
  double weight_learning_rate = 0.02;  ///< of the experts' weights (selector); they start at 1/E
  /// The seed is that of `train`. svd and cosine want experts and fresh adapters of one rank, products does not.
  clustering::RetrievalOptions retrieval;
  LorahubOptions lorahub;
};

/// steps, batch, learning_rate, warmup, schedule; rank, alpha, dropout, targets; start, skills, retriever, retrieved,
/// evaluations, and the rates of selectors, skills and weights.
void describe(AdaptOptions& options, OptionSet& set);
/// The described options that a regime reads. Throws Error{usage} with the nearest name.
std::vector<std::string> options_of_regime(const std::string& regime);
/// Throws Error{usage} on a regime that is not there, and on a described option that was given and none of the regimes
/// reads.
void check_regimes(const std::vector<std::string>& regimes, const OptionSet& set);

struct AdaptInputs {
  model::Model model;
  std::shared_ptr<const library::Library> library;
  std::shared_ptr<const adapter::Bank> bank;  ///< experts of the library to draw on, under their names
  Progress& progress;
};

struct Adapted {
  adapter::Adapter adapter;
  std::int64_t trained = 0;          ///< numbers that were learnt
  double loss_before = 0, loss = 0;  ///< on the few examples, at the start and at the end
  std::string note;                  ///< which experts were taken, their weights
  double seconds = 0;
};

struct RegimeHelp {
  std::string name, summary;
};
/// Every regime, for --help and for suggestions.
const std::vector<RegimeHelp>& regime_table();

/// Throws Error where what a regime goes on from is not in the library or is not what it takes; adapt checks the same.
void check_sources(const AdaptInputs& inputs, const std::string& regime, const AdaptOptions& options);

/// examples.train: the few examples; examples.name: the task. Throws Error{usage} on an unknown regime or where what it
/// goes on from is not in the library.
Adapted adapt(const AdaptInputs& inputs, const std::string& regime, const ExpertData& examples,
              const AdaptOptions& options);

}  // namespace quiver::training
