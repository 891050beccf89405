// SPDX-License-Identifier: Apache-2.0
// Adapting a library to new tasks from a few examples, and scoring what comes of it, by what a user gives.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/base/progress.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/adaptation/adaptation_interval.h"
#include "quiver/training/adaptation/few_shot.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/open_model.h"
#include "quiver/workspace/tasks.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::workspace {

/// What to adapt to what. Neither copied nor moved: `learning` and `general` describe its fields.
struct AdaptJob {
  ModelOptions model;
  ExpertOptions experts;
  TaskOptions tasks;
  JoinChoice join;
  std::vector<std::string> regimes;
  training::AdaptOptions adapt;
  training::FewShotOptions few;
  evaluation::EvaluateOptions evaluate;
  std::int64_t seeds = 3;  ///< repetitions, each with its own examples
  std::string save;        ///< keeps the results as experts: NAME, with several regimes or seeds NAME.REGIME.SEED
  bool replace = false;
  OptionSet learning;  ///< of adapt: what the regimes read of it
  OptionSet general;   ///< of all else
  AdaptJob();
};

/// One regime of one seed on a task; the base model without a shot where there is no seed.
struct AdaptScore {
  std::string task, regime;
  std::optional<std::uint64_t> seed;
  evaluation::ResultRow result;
  std::size_t examples = 0;
  training::Adapted adapted = {};
};

/// A regime over its seeds.
struct AdaptSummary {
  std::string task, regime, metric;
  training::MeanInterval mean;
  std::size_t seeds = 0;         ///< 0: without a shot
  std::int64_t trained = 0;      ///< numbers that were learnt
  double loss = 0, seconds = 0;  ///< means
};

struct AdaptListener {
  std::function<void(const AdaptScore&)> score;
  std::function<void(const std::vector<AdaptSummary>&)> task;  ///< all regimes of a task, when it is done
};

/// Refuses first: options that no regime reads, regimes that lack what they go on from, names that are taken, tasks
/// that cannot be scored or have no examples. Where a regime then fails with a seed, the others go on, and an Error
/// names all that failed at the end.
void adapt(AdaptJob& job, Progress& progress, const AdaptListener& listener);

}  // namespace quiver::workspace
