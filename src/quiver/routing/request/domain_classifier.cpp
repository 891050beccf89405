// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/domain_classifier.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/ops/adamw.h"
#include "quiver/ops/random_tensor.h"

namespace quiver::routing {
namespace {

at::Tensor standardised(const DomainClassifier& classifier, const at::Tensor& features) {
  return (features.to(at::kFloat) - classifier.mean) / classifier.deviation;
}

/// float32 [N, E].
at::Tensor of_standardised(const DomainClassifier& classifier, at::Tensor x) {
  for (std::size_t i = 0; i < classifier.weights.size(); ++i) {
    if (i > 0) x = at::relu(x);
    x = at::linear(x, classifier.weights[i], classifier.biases[i]);
  }
  return x.log_softmax(1);
}

/// True for features that the rows do not tell apart: as scikit-learn's StandardScaler has it, and where they differ by
/// less than the rounding of a float32 pass.
at::Tensor constant_features(const at::Tensor& wide, const at::Tensor& mean, const at::Tensor& variance) {
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon(), kPass = 1.0 / (1 << 20);
  const auto rows = static_cast<double>(wide.size(0));
  const auto bound = variance * (rows * kEpsilon) + (mean * (rows * kEpsilon)).square();
  return variance.le(bound).logical_or(variance.le((mean * kPass).square()));
}

/// Means and deviations in float64. A constant feature's deviation is 1; its states in `scaled`, which become the
/// standardised features, and its weights are 0, so that it says nothing in use either, whatever a prompt's is.
DomainClassifier start(const at::Tensor& features, std::int64_t experts, const DomainClassifierOptions& o,
                       at::Tensor& scaled) {
  DomainClassifier out;
  const auto wide = features.to(at::kDouble);
  const auto mean = wide.mean(0), variance = (wide - mean).square().mean(0);
  const auto constant = constant_features(wide, mean, variance);
  out.mean = mean.to(at::kFloat);
  out.deviation = variance.sqrt().masked_fill(constant, 1.0).to(at::kFloat);
  scaled = standardised(out, features).masked_fill(constant, 0.0);
  Random random(o.seed);
  auto in = features.size(1);
  if (o.depth == 2) {
    out.weights.push_back(ops::linear_start(o.width, in, random));
    out.biases.push_back(at::zeros({o.width}, at::kFloat));
    in = o.width;
  }
  out.weights.push_back(o.depth == 2 ? ops::linear_start(experts, in, random) : at::zeros({experts, in}, at::kFloat));
  out.biases.push_back(at::zeros({experts}, at::kFloat));
  out.weights[0].masked_fill_(constant, 0.0);
  return out;
}

}  // namespace

void describe(DomainClassifierOptions& o, OptionSet& set) {
  set.integer("depth", o.depth, between(1, 2), "linear maps")
      .integer("width", o.width, at_least(1), "of the hidden layer, where depth=2")
      .number("weight_decay", o.weight_decay, at_least(0), "times half the squared weights")
      .integer("steps", o.steps, at_least(1), "of fitting, over all rows at once");
}

at::Tensor log_probabilities(const DomainClassifier& classifier, const at::Tensor& features) {
  return of_standardised(classifier, standardised(classifier, features));
}

DomainClassifier fit_domain_classifier(const at::Tensor& features, const at::Tensor& labels, std::int64_t experts,
                                       const DomainClassifierOptions& o) {
  QUIVER_CHECK(o.depth == 1 || o.depth == 2, usage, "router", "depth {}, expected 1 or 2", o.depth);
  QUIVER_CHECK(o.width >= 1 && o.steps >= 1 && o.weight_decay >= 0, usage, "router",
               "width {}, steps {} and weight decay {}, expected at least 1, 1 and 0", o.width, o.steps,
               o.weight_decay);
  at::Tensor scaled;
  auto out = start(features, experts, o, scaled);
  const auto counts = at::bincount(labels, {}, experts).to(at::kFloat);
  const auto weights = at::index_select(1.0 / counts.clamp_min(1.0), 0, labels);
  const auto shares = weights / weights.sum();
  std::vector<at::Tensor> parameters;
  for (auto* list : {&out.weights, &out.biases}) {
    for (auto& t : *list) parameters.push_back(t.set_requires_grad(true));
  }
  std::vector<ops::AdamW> adam;
  for (const auto& p : parameters) adam.emplace_back(p);
  for (std::int64_t step = 0; step < o.steps; ++step) {
    const c10::AutoGradMode gradients(true);
    auto loss = -(of_standardised(out, scaled).gather(1, labels.unsqueeze(1)).squeeze(1) * shares).sum();
    for (const auto& w : out.weights) loss = loss + w.square().sum() * (0.5 * o.weight_decay);
    loss.backward();
    const c10::AutoGradMode no_gradient(false);
    // The second half of the steps grow smaller, so that the end is a minimum on every processor.
    const auto left = static_cast<double>(o.steps - step) / static_cast<double>(o.steps);
    const double rate = o.learning_rate * std::min(1.0, 2.0 * left);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      adam[i].step(parameters[i], parameters[i].grad(), rate, step);
      parameters[i].mutable_grad() = at::Tensor();
    }
  }
  for (auto* list : {&out.weights, &out.biases}) {
    for (auto& t : *list) t = t.detach();
  }
  return out;
}

}  // namespace quiver::routing
