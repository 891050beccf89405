// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/prompt_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/routing/described.h"
#include "quiver/routing/request/signature.h"

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

void describe(PromptRouterOptions& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a known prompt at most");
  describe_count(set, "others", o.others, "experts whose mean a strange prompt gets, the nearest");
  set.number("sharpness", o.sharpness, above(0), "how sudden the changes at the edge and at base_from are")
      .number("base_from", o.base_from, at_least(0), "edges away, from where the base model comes back; 0: never");
  describe_temperature(set, o.temperature, "factor of the fitted one; below 1: surer of known tasks than the fit is");
  describe_combine(set, o.combine);
}

std::vector<ops::ExpertWeight> pairs_of_distances(const std::vector<double>& squares, const PromptClassifier& fitted,
                                                  const PromptRouterOptions& options) {
  const double r = *std::min_element(squares.begin(), squares.end()) / fitted.edge;
  const double strange = 1.0 / (1.0 + std::pow(r, -options.sharpness));
  const double common =
      options.base_from > 0 && r > options.base_from ? std::pow(options.base_from / r, options.sharpness) : 1.0;
  if (common < kNegligible) return {};
  std::vector<double> scores, weights(squares.size(), 0.0);
  for (const double d : squares) scores.push_back(-d);
  const auto add = [&](const std::vector<ops::ExpertWeight>& pairs, double share) {
    for (const auto& [expert, weight] : pairs) weights[static_cast<std::size_t>(expert)] += share * weight;
  };
  add(pairs_of(scores, {options.top_k, fitted.temperature * options.temperature}), 1.0 - strange);
  add(pairs_of(scores, {options.others, std::numeric_limits<double>::infinity()}), strange);
  const double least = kNegligible * *std::max_element(weights.begin(), weights.end());
  std::vector<ops::ExpertWeight> out;
  for (std::size_t e = 0; e < weights.size(); ++e) {
    if (weights[e] >= least) out.emplace_back(e, static_cast<float>(weights[e] * common));
  }
  return out;
}

std::vector<ops::ExpertWeight> that_mix(std::vector<ops::ExpertWeight> pairs, const adapter::Bank& bank) {
  constexpr float kWhole = 0.5f;  // vectors are read whole or not at all
  const auto alone = [&](const ops::ExpertWeight& pair) { return bank.reads_before_prompt(pair.first); };
  if (std::none_of(pairs.begin(), pairs.end(), alone)) return pairs;
  float all = 0.0f, kept = 0.0f;
  for (const auto& pair : pairs) all += pair.second;
  const auto first =
      *std::max_element(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (alone(first) && all < kWhole) return {};
  if (alone(first)) return {{first.first, 1.0f}};
  std::erase_if(pairs, alone);
  for (const auto& pair : pairs) kept += pair.second;
  for (auto& pair : pairs) pair.second *= all / kept;
  return pairs;
}

PromptRouter::PromptRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model,
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
    out.push_back(that_mix(pairs_of_distances(row(squares, i), classifier_, options_), *bank_));
  return out;
}

CosineRouter::CosineRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model,
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
