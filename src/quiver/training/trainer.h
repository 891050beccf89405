// SPDX-License-Identifier: Apache-2.0
// Training experts of a library over the frozen base: one, or several at once (expert_objective.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/library/library.h"
#include "quiver/model/model.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/figures.h"

namespace quiver::training {

struct TrainedExpert : Figures {
  std::string name;
  fs::path path;               ///< the expert's folder
  bool already_there = false;  ///< the library had it, trained with the same options on the same rows
};

struct TrainRequest {
  model::Model model;
  const library::Library& library;
  const TrainOptions& options;
  Progress& progress;
  /// Overwrite an expert of the same name that was trained otherwise, and drop the checkpoint of such a run.
  bool replace = false;
  const adapter::Adapter* start = nullptr;  ///< null: a fresh one
  /// Called as each expert is in the library, also where the session fails later; may be null.
  std::function<void(const TrainedExpert&)> trained = nullptr;
};

/// Trains the experts together and adds each to the library when it is done, in the order of their names. Interrupted
/// runs go on from their checkpoints; one that another process trains is waited for. Throws Error{usage} where a name
/// is taken by another expert, Error{mismatch} where a checkpoint is another run's, both before any is trained.
std::vector<TrainedExpert> train_experts(const TrainRequest& request, std::vector<ExpertData> experts);

/// Throws Error{usage} where one of the names cannot be a name, or is taken by an expert that was trained otherwise and
/// may not be replaced.
void check_free(const TrainRequest& request, const std::vector<ExpertData>& experts);

/// Mean cross-entropy over the target tokens of `rows`, weighted by the rows' weights, under expert `expert` of `bank`
/// (none: < 0). NaN where no row counts.
double mean_loss(const model::Model& model, std::shared_ptr<const adapter::Bank> bank, std::int64_t expert,
                 const std::vector<data::TokenRow>& rows);

}  // namespace quiver::training
