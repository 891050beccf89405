// SPDX-License-Identifier: Apache-2.0
// Training by what a user gives: a model, task files, a method with its options, and where the results go.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/base/progress.h"
#include "quiver/training/methods/method.h"
#include "quiver/workspace/open_model.h"
#include "quiver/workspace/tasks.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::workspace {

/// What to train. Neither copied nor moved: `set` describes `options`.
struct TrainJob {
  ModelOptions model;
  TaskOptions tasks;
  JoinChoice join;
  training::MethodOptions options;
  OptionSet set;                                              ///< of options; says which were given
  std::vector<std::pair<std::string, std::string>> settings;  ///< of the method, as --set has them
  TrainJob();
};

/// Refuses first what the method does not read, and results that may not go where they should; then trains, calling
/// `learned` with each result when it is kept. Texts are joined as what training goes on from was trained, where the
/// user leaves it open; where they are not, it is said. Tasks without training rows are passed over with a word. Where
/// one of several results fails, the others are made, and an Error names all that failed at the end.
void train(TrainJob& job, Progress& progress, const std::function<void(const training::Learned&)>& learned);

}  // namespace quiver::workspace
