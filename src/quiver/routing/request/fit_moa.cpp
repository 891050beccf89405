// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/fit_moa.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index.h>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

struct Rows {
  at::Tensor states, labels;  ///< [N, F], int64 [N]
};

/// One place's rows of all experts: those whose number within their expert leaves `remainder` by five, or the others.
Rows rows_of(const std::vector<PlaceStates>& states, std::int64_t place, bool held_out) {
  constexpr std::int64_t kFolds = 5;
  std::vector<at::Tensor> parts, labels;
  for (std::size_t e = 0; e < states.size(); ++e) {
    const auto& own = states[e].at(place);
    const auto out = at::arange(own.size(0), at::kLong).remainder(kFolds).eq(kFolds - 1);
    parts.push_back(own.index({held_out ? out : out.logical_not()}));
    labels.push_back(at::full({parts.back().size(0)}, static_cast<std::int64_t>(e), at::kLong));
  }
  return {at::cat(parts, 0), at::cat(labels, 0)};
}

}  // namespace

FittedMoa fit_moa(const std::vector<PlaceStates>& states, const DomainClassifierOptions& options, Progress& progress) {
  QUIVER_CHECK(!states.empty() && !states[0].empty(), usage, "router", "there are no experts to tell apart");
  const auto experts = static_cast<std::int64_t>(states.size());
  FittedMoa out;
  for (const auto& own : states) {
    QUIVER_CHECK(own.size() == states[0].size(), mismatch, "router", "states at {} places and at {}", own.size(),
                 states[0].size());
    out.rows += own.begin()->second.size(0);
  }
  std::size_t done = 0;
  for (const auto& [place, first] : states[0]) {
    progress.update("fit", done++, states[0].size(), "");
    const auto train = rows_of(states, place, false), test = rows_of(states, place, true);
    if (test.labels.numel() > 0) {
      const auto fitted = fit_domain_classifier(train.states, train.labels, experts, options);
      const auto right = log_probabilities(fitted, test.states).argmax(1).eq(test.labels);
      out.by_place[std::to_string(place)] = right.to(at::kDouble).mean().item<double>();
      out.accuracy += out.by_place[std::to_string(place)] / static_cast<double>(states[0].size());
    }
    const auto all = at::cat({train.states, test.states}, 0), labels = at::cat({train.labels, test.labels}, 0);
    out.classifiers[place] = fit_domain_classifier(all, labels, experts, options);
  }
  progress.finish();
  return out;
}

}  // namespace quiver::routing
