// SPDX-License-Identifier: Apache-2.0
// Which expert a state belongs to: multinomial logistic regression, or a network of one hidden layer, on standardised
// features.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "quiver/base/options.h"

namespace quiver::routing {

struct DomainClassifier {
  at::Tensor mean, deviation;       ///< float32 [F]: of the features it was fitted on
  std::vector<at::Tensor> weights;  ///< [E, F], or [H, F] and [E, H] with a ReLU between
  std::vector<at::Tensor> biases;   ///< [E], or [H] and [E]
};

struct DomainClassifierOptions {
  int depth = 1;               ///< linear maps: 1 or 2
  std::int64_t width = 64;     ///< H, where depth = 2
  double weight_decay = 1e-2;  ///< times half the squared weights, added to the mean cross-entropy
  std::int64_t steps = 200;    ///< of Adam over all rows at once
  double learning_rate = 0.02;
  std::uint64_t seed = 0;  ///< of a hidden layer's start; without one the start is zero
};

/// depth, width, weight_decay, steps.
void describe(DomainClassifierOptions& options, OptionSet& set);

/// float32 [N, E] for features [N, F].
at::Tensor log_probabilities(const DomainClassifier& classifier, const at::Tensor& features);

/// Minimises the cross-entropy of labels (int64 [N], in [0, experts)), every expert's rows together counting alike.
DomainClassifier fit_domain_classifier(const at::Tensor& features, const at::Tensor& labels, std::int64_t experts,
                                       const DomainClassifierOptions& options);

}  // namespace quiver::routing
