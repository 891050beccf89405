// SPDX-License-Identifier: Apache-2.0
// The options of `train`: those that all methods share, and groups that some of them read (method.h says which).
#pragma once

#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/training/methods/skill_training.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

struct MethodOptions {
  std::string method = "lora";
  TrainOptions train;
  std::vector<std::string> kinds{"lora"};  ///< names, which become train.kind.kinds

  // Where results go, and from what.
  std::string library;                           ///< the folder that gets experts and routers
  std::string output;                            ///< the folder that gets a model
  std::string name;                              ///< one result of this name for all tasks
  std::string clusters;                          ///< a clustered library: one expert per cluster of its experts' tasks
  std::string init_from;                         ///< a PEFT folder to go on from
  std::string prompt_text;                       ///< whose tokens' embeddings a prompt starts as
  std::int64_t limit = 0, validation_limit = 0;  ///< rows of each task; 0: all
  bool together = false;                         ///< all experts at once, each row under its own
  bool replace = false;                          ///< overwrite results of the same names
  bool allow_other_base = false;                 ///< add to a library over another base model

  // Several tasks that share what is trained.
  double task_temperature = 1.0;  ///< rows of a task ~ n^(1/T); 1: each row once an epoch
  bool equal_tasks = false;       ///< tasks count alike, whatever their number of tokens
  bool fold = false;              ///< also keep each task's composition as an expert NAME.TASK

  routing::SkillOptions skills;
  SkillTraining skill_training;
};

/// All of them, in groups: results, rows, optimisation, lora, kinds, tasks, skills.
void describe(MethodOptions& options, OptionSet& set);
void describe(routing::SkillOptions& options, OptionSet& set);
void describe(SkillTraining& options, OptionSet& set);

/// train.kind.kinds of the names in `kinds`. Throws Error{usage} with the nearest name.
void choose_kinds(MethodOptions& options);

/// Names of the options described in one of these groups.
std::vector<std::string> options_of_groups(const std::vector<std::string>& groups);

}  // namespace quiver::training
