// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompt_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/routing/signature.h"

namespace quiver::routing {
namespace {

std::vector<std::vector<std::int32_t>> prompts_of(const std::vector<Request>& requests) {
  std::vector<std::vector<std::int32_t>> out;
  for (const auto& request : requests) {
    QUIVER_CHECK(!request.prompt.empty(), usage, "router", "a request without a prompt cannot be routed by it");
    out.push_back(request.prompt);
  }
  return out;
}

std::vector<double> row(const at::Tensor& matrix, std::size_t i) {
  const auto values = matrix[static_cast<std::int64_t>(i)].to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

}  // namespace

std::vector<ops::ExpertWeight> pairs_of_distances(const std::vector<double>& squares, const PromptClassifier& fitted,
                                                  const PromptRouterOptions& options) {
  const double nearest = *std::min_element(squares.begin(), squares.end());
  const double strangeness = std::max(1.0, nearest / fitted.usual);
  std::vector<double> scores;
  for (const double d : squares) scores.push_back(-d);
  auto pairs = pairs_of(
      scores, {options.top_k, fitted.temperature * options.temperature * std::pow(strangeness, options.reach)});
  if (options.base_from > 0 && strangeness > options.base_from) {
    const double share = std::pow(options.base_from / strangeness, std::max(1.0, options.reach));
    for (auto& [expert, weight] : pairs) weight *= static_cast<float>(share);
  }
  return pairs;
}

PromptRouter::PromptRouter(std::shared_ptr<const adapter::Bank> bank, const model::LanguageModel& model,
                           PromptClassifier classifier, PromptRouterOptions options)
    : RequestRouter(std::move(bank), options.combine),
      model_(model),
      classifier_(std::move(classifier)),
      options_(options) {
  QUIVER_CHECK(classifier_.means.size(0) == bank_->size(), mismatch, "router", "{} signatures for {} experts",
               classifier_.means.size(0), bank_->size());
}

std::vector<std::vector<ops::ExpertWeight>> PromptRouter::choose(const std::vector<Request>& requests) const {
  if (requests.empty()) return {};
  const auto squares = distances(classifier_, prompt_features(model_, prompts_of(requests)));
  std::vector<std::vector<ops::ExpertWeight>> out;
  for (std::size_t i = 0; i < requests.size(); ++i)
    out.push_back(pairs_of_distances(row(squares, i), classifier_, options_));
  return out;
}

CosineRouter::CosineRouter(std::shared_ptr<const adapter::Bank> bank, const model::LanguageModel& model,
                           const std::vector<at::Tensor>& features, RequestMixOptions options, ops::Combine combine)
    : RequestRouter(std::move(bank), combine), model_(model), options_(options) {
  std::vector<at::Tensor> means;
  for (const auto& f : features) means.push_back(f.mean(0));
  const auto stacked = at::stack(means, 0);
  means_ = stacked / stacked.norm(2, {1}, true).clamp_min(1e-12);
}

std::vector<std::vector<ops::ExpertWeight>> CosineRouter::choose(const std::vector<Request>& requests) const {
  if (requests.empty()) return {};
  const auto features = prompt_features(model_, prompts_of(requests));
  const auto scores = at::mm(features / features.norm(2, {1}, true).clamp_min(1e-12), means_.t());
  std::vector<std::vector<ops::ExpertWeight>> out;
  for (std::size_t i = 0; i < requests.size(); ++i) out.push_back(pairs_of(row(scores, i), options_));
  return out;
}

}  // namespace quiver::routing
