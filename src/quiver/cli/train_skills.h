// SPDX-License-Identifier: Apache-2.0
// `train --method poly`: skills that all tasks share, kept in the library as a router that `--route poly:NAME` applies.
#pragma once

#include "quiver/cli/common.h"
#include "quiver/training/methods/skill_training.h"

namespace quiver::cli {

/// Options that only this method reads.
struct SkillChoice {
  routing::SkillOptions skills;
  training::SkillTraining training;
  std::string granularity = "site", normalisation = "share";
  double task_temperature = 1.0;  ///< 1: each row once an epoch
  bool equal_tasks = false, fold = false;
  void declare(CLI::App& app);
};

/// What `train` has read for every method.
struct SkillRun {
  const LoadedModel& loaded;
  const library::Library& library;
  const std::vector<data::Task>& tasks;
  const training::TrainOptions& train;
  std::string name;                              ///< empty: poly
  std::int64_t limit = 0, validation_limit = 0;  ///< rows of each task; 0: all
  bool replace = false, json = false;
};

/// Trains skills over the tasks and saves them; with `fold` also each task's composition as an expert NAME.TASK.
void train_skills(const SkillRun& run, const SkillChoice& choice);

}  // namespace quiver::cli
