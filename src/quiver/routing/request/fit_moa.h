// SPDX-License-Identifier: Apache-2.0
// Fitting MoA's classifiers on kept states: a logistic regression per place, in seconds.
#pragma once

#include "quiver/base/progress.h"
#include "quiver/routing/request/moa_router.h"

namespace quiver::routing {

struct FittedMoa {
  Classifiers classifiers;  ///< on all rows
  std::int64_t rows = 0;
  double accuracy = 0.0;                   ///< mean over places
  std::map<std::string, double> by_place;  ///< of every fifth row of each expert, by classifiers of the others
};

/// states: of each expert's prompts, in the order of the bank. Throws Error{mismatch} where their places differ.
FittedMoa fit_moa(const std::vector<PlaceStates>& states, const DomainClassifierOptions& options, Progress& progress);

}  // namespace quiver::routing
