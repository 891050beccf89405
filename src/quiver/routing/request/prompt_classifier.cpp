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
constexpr double kLeastEdge = 1e-6;  // where every expert has but one prompt, which lies on its mean
constexpr double kKnown = 0.99;      // share of the known tasks' prompts within the edge

/// Means and whitening alone. Experts without rows get a mean that nothing is near.
PromptClassifier fit_once(const std::vector<at::Tensor>& features) {
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
  const double least = std::max(1e-9 * variances.max().item<double>(), 1e-12);  // of a feature that never varies
  const auto identity = at::eye(width, at::kDouble);
  const auto root = at::linalg_cholesky(covariance * (1 - kShrinkage) + at::diag(variances * kShrinkage + least));
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

LeftOut leave_out(const std::vector<at::Tensor>& features) {
  LeftOut out;
  for (std::int64_t fold = 0; fold < kFolds; ++fold) {
    std::vector<at::Tensor> kept, left;
    for (const auto& f : features) {
      const auto in_fold = at::arange(f.size(0), at::kLong).remainder(kFolds).eq(fold);
      // An expert of a single prompt stays in, or its class would vanish.
      kept.push_back(f.size(0) > 1 ? f.index({in_fold.logical_not()}) : f);
      left.push_back(f.index({in_fold}));
    }
    const auto classifier = fit_once(kept);
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

}  // namespace

PromptClassifier fit_prompt_classifier(const std::vector<at::Tensor>& features) {
  QUIVER_CHECK(!features.empty(), usage, "router", "there are no experts to tell apart");
  auto out = fit_once(features);
  const auto left_out = leave_out(features);
  const auto all = at::cat(left_out.distances, 0);
  const auto own = at::tensor(left_out.own, at::kLong);
  out.edge = std::max(all.amin(1).quantile(kKnown).item<double>(), kLeastEdge);
  out.temperature = best_temperature(all, own);
  out.accuracy = all.argmin(1).eq(own).to(at::kDouble).mean().item<double>();
  return out;
}

at::Tensor distances(const PromptClassifier& classifier, const at::Tensor& features) {
  return at::cdist(at::mm(features, classifier.whiten), classifier.means).square();
}

}  // namespace quiver::routing
