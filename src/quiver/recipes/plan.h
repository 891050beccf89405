// SPDX-License-Identifier: Apache-2.0
// The commands of a recipe's cells.
#pragma once

#include "quiver/recipes/cell.h"

namespace quiver::recipes {

/// A library of the grid under one seed.
struct BuiltLibrary {
  std::string construction, folder;  ///< folder with {output}; "" for the base model alone
  std::int64_t seed = 0;
  std::vector<std::string> experts;               ///< sorted
  std::map<std::string, std::string> made_for;    ///< task: the expert, or the folder with {output} of the model
  std::map<std::string, std::string> identities;  ///< of the experts, and the fingerprint of the base model
  bool models = false;                            ///< no library: a model per task
  bool ready = true;                              ///< all experts are there
};
/// Under which the base model's fingerprint stands among identities.
inline constexpr const char* kBaseModel = "base model";

/// The tasks that it learns.
const std::vector<std::string>& tasks_of(const Recipe& recipe, const Construction& construction);
/// What it makes for one task is called, where there is an expert or a router per task.
std::string expert_name(const Construction& construction, const std::string& task);
/// The method of `quiver train` that it is trained by.
std::string train_method(const Recipe& recipe, const Construction& construction);

/// Before any of its experts is there.
BuiltLibrary empty_library(const Construction& construction, std::int64_t seed);
/// Where a model of its own lies.
std::string model_folder(const Construction& construction, std::int64_t seed, const std::string& task);

/// An expert of `tasks`, or skills, called `name`; or a model in the folder `name`. `over`: what {over} and {experts}
/// stand for.
Cell train_cell(const Recipe& recipe, const Construction& construction, const BuiltLibrary& into,
                const std::string& name, const std::vector<std::string>& tasks, const BuiltLibrary& over = {});
Cell cluster_cell(const Construction& construction, const BuiltLibrary& experts);
Cell prepare_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library);
/// With the preparations that it rests on.
Cell evaluate_cell(const Recipe& recipe, const Route& route, const BuiltLibrary& library, const std::string& task);

struct AdaptationPoint {
  std::string regime, task;
  std::int64_t shots = 0, seed = 0;
};
Cell adapt_cell(const Recipe& recipe, const Adaptation& adaptation, const BuiltLibrary& library,
                const AdaptationPoint& point);

}  // namespace quiver::recipes
