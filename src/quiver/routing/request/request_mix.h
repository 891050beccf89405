// SPDX-License-Identifier: Apache-2.0
// From one score per expert and request to the pairs of the request.
#pragma once

#include <limits>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/ops/mix.h"

namespace quiver::routing {

inline constexpr double kNegligible = 1e-3;  ///< of the best weight: lower ones are left out

struct RequestMixOptions {
  std::int64_t top_k = 1;    ///< experts of a request; 0: all
  double temperature = 1.0;  ///< weights are a softmax of score / temperature over those kept
  /// Where even the best score is lower: no expert, the base model.
  double floor = -std::numeric_limits<double>::infinity();
};

/// top_k, temperature, floor.
void describe(RequestMixOptions& options, OptionSet& set);

/// Ties go to the lower expert number; negligible experts are left out.
std::vector<ops::ExpertWeight> pairs_of(const std::vector<double>& scores, const RequestMixOptions& options);

}  // namespace quiver::routing
