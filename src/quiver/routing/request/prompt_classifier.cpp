// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/prompt_classifier.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/index.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

constexpr double kShrinkage = 0.3;  // of the covariances between features
constexpr std::int64_t kFolds = 5;
constexpr std::int64_t kWithoutProducts = 2;  // of cdist: |a|^2 - 2 a b + |b|^2 would lose the small ones
constexpr double kPrecision = 1.0 / 256;      // relative, of features of passes in bfloat16
constexpr double kKnown = 0.99;               // share of the known tasks' prompts within the edge

/// [F]: the variance that rounding alone gives a feature. Where its values cancel out in the mean over tokens, those of
/// a usual feature say how large they were.
at::Tensor rounding_of(const std::vector<at::Tensor>& features) {
  const auto squares = at::cat(features, 0).to(at::kDouble).square().mean(0);
  return (squares + squares.median()).clamp_min(1e-12) * (kPrecision * kPrecision);
}

/// Means and whitening alone. Experts without rows get a mean that nothing is near.
PromptClassifier fit_once(const std::vector<at::Tensor>& features, const at::Tensor& rounding) {
  std::vector<at::Tensor> means, centred;
  std::int64_t rows = 0;
  for (const auto& f : features) {
    means.push_back(f.mean(0));
    centred.push_back(f - means.back());
    rows += f.size(0);
  }
  const auto x = at::cat(centred, 0).to(at::kDouble);
  const auto width = x.size(1);
  const auto freedom = std::max<std::int64_t>(1, rows - static_cast<std::int64_t>(features.size()));
  const auto covariance = at::mm(x.t(), x) / static_cast<double>(freedom);
  const auto variances = covariance.diagonal();
  const auto identity = at::eye(width, at::kDouble);
  const auto root = at::linalg_cholesky(covariance * (1 - kShrinkage) + at::diag(variances * kShrinkage + rounding));
  PromptClassifier out;
  out.whiten = at::linalg_solve_triangular(root, identity, false).t().to(at::kFloat).contiguous();
  out.means = at::mm(at::stack(means, 0), out.whiten);
  return out;
}

/// d^2 of left-out prompts, [N, E], with their own experts.
struct LeftOut {
  std::vector<at::Tensor> distances;
  std::vector<std::int64_t> own;
};

LeftOut leave_out(const std::vector<at::Tensor>& features, const at::Tensor& rounding) {
  LeftOut out;
  for (std::int64_t fold = 0; fold < kFolds; ++fold) {
    std::vector<at::Tensor> kept, left;
    for (const auto& f : features) {
      const auto in_fold = at::arange(f.size(0), at::kLong).remainder(kFolds).eq(fold);
      // An expert of a single prompt stays in, or its class would vanish.
      kept.push_back(f.size(0) > 1 ? f.index({in_fold.logical_not()}) : f);
      left.push_back(f.index({in_fold}));
    }
    const auto classifier = fit_once(kept, rounding);
    for (std::size_t e = 0; e < features.size(); ++e) {
      if (left[e].size(0) == 0) continue;
      out.distances.push_back(distances(classifier, left[e]).to(at::kDouble));
      out.own.insert(out.own.end(), static_cast<std::size_t>(left[e].size(0)), static_cast<std::int64_t>(e));
    }
  }
  return out;
}

/// The temperature at which left-out prompts are most likely to be their own experts'.
double best_temperature(const at::Tensor& distances, const at::Tensor& own) {
  double best = 1.0, least = std::numeric_limits<double>::infinity();
  for (double t = 0.5; t < 1e4; t *= 1.5) {
    const double loss = -(distances / -t).log_softmax(1).gather(1, own.unsqueeze(1)).mean().item<double>();
    if (loss < least) least = loss, best = t;
  }
  return best;
}

/// `known`: d^2 that the prompts of known tasks stay below.
double edge_of(const PromptClassifier& classifier, double known, const at::Tensor& rounding) {
  const auto rounded = (classifier.whiten.to(at::kDouble).square() * rounding.unsqueeze(1)).sum().item<double>();
  if (known > rounded) return known;
  auto between = at::cdist(classifier.means, classifier.means, 2.0, kWithoutProducts).square().to(at::kDouble);
  between = between.masked_select(between.gt(rounded));  // experts of the same prompts are no others
  return std::max(rounded, between.numel() > 0 ? between.min().item<double>() / 4 : 0.0);
}

}  // namespace

PromptClassifier fit_prompt_classifier(const std::vector<at::Tensor>& features) {
  QUIVER_CHECK(!features.empty(), usage, "router", "there are no experts to tell apart");
  const auto rounding = rounding_of(features);
  auto out = fit_once(features, rounding);
  const auto left_out = leave_out(features, rounding);
  const auto all = at::cat(left_out.distances, 0);
  const auto own = at::tensor(left_out.own, at::kLong);
  out.edge = edge_of(out, all.amin(1).quantile(kKnown).item<double>(), rounding);
  out.temperature = best_temperature(all, own);
  out.accuracy = all.argmin(1).eq(own).to(at::kDouble).mean().item<double>();
  return out;
}

at::Tensor distances(const PromptClassifier& classifier, const at::Tensor& features) {
  return at::cdist(at::mm(features, classifier.whiten), classifier.means, 2.0, kWithoutProducts).square();
}

}  // namespace quiver::routing
