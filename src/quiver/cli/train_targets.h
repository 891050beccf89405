// SPDX-License-Identifier: Apache-2.0
// Methods of `quiver train` beside plain experts that learn from each task (or all of them together) one router of the
// library, or experts by another way: pemt, attempt, fusion; adamix, mpt; moa, which is both.
#pragma once

#include <optional>

#include "quiver/cli/common.h"
#include "quiver/routing/route_spec.h"
#include "quiver/routing/saved_router.h"
#include "quiver/training/routed_training.h"
#include "quiver/training/train_options.h"

namespace quiver::cli {

struct TargetRun {
  const LoadedModel& loaded;
  const library::Library& library;
  const std::vector<data::Task>& tasks;
  training::TrainOptions options;     ///< with the kind of what is trained
  std::vector<std::string> settings;  ///< key=value, as --set has them
  std::string name, prompt_text;
  std::int64_t limit = 0, validation_limit = 0;
  bool replace = false, json = false;
};

/// A router or an expert to be, with its rows, labelled by the tasks' numbers.
struct Target {
  std::string name;
  std::vector<data::Task> tasks;
  std::vector<training::RoutedRow> train, validation;
};

struct LearnedExpert {
  std::string name;
  std::vector<std::string> tasks;
  adapter::Adapter adapter;
};

struct Learned {
  training::RoutedResult result;
  std::optional<routing::SavedRouter> router;
  std::vector<LearnedExpert> experts;  ///< in place of a router, or beside it
  nlohmann::json more = nullptr;       ///< figures for training and --json
  std::string table;                   ///< printed after the line of figures
};

using Learn = Learned (*)(const TargetRun&, const routing::RouteSpec& settings, const Target&, Progress&);

Learned learn_pemt(const TargetRun& run, const routing::RouteSpec& settings, const Target& target, Progress& progress);
Learned learn_attempt(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                      Progress& progress);
Learned learn_mpt(const TargetRun& run, const routing::RouteSpec& settings, const Target& target, Progress& progress);
Learned learn_adamix(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                     Progress& progress);
Learned learn_moa(const TargetRun& run, const routing::RouteSpec& settings, const Target& target, Progress& progress);
Learned learn_fusion(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                     Progress& progress);

/// The experts that the setting `sources` names (a,b,c), as a bank. Throws Error{usage} where it names none.
adapter::Bank sources_of(const TargetRun& run, const routing::RouteSpec& settings);

/// The names of the target's tasks.
std::vector<std::string> task_names(const Target& target);

/// The names of these methods, and what --set may say of each, for help.
std::vector<std::string> target_methods();
std::string target_settings();

/// One target per task, or one of run.name over all of them (moa: always one), kept in the library.
void train_targets(const std::string& method, const TargetRun& run, Progress& progress);

}  // namespace quiver::cli
