// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/xlora_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/described.h"
#include "quiver/routing/site_use.h"

namespace quiver::routing {
namespace {

class WeightedSource : public model::ExpertSource {
 public:
  WeightedSource(const adapter::Bank& bank, at::Tensor weights, const std::vector<std::int64_t>& places)
      : bank_(bank), weights_(std::move(weights)), places_(places) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor&) override {
    std::vector<ops::SiteUse> uses;
    for (const auto& s : sites) {
      const auto place = places_[static_cast<std::size_t>(s.site)];
      if (place < 0) continue;
      auto mix = ops::mix_of_dense(weights_.select(1, weights_.size(1) > 1 ? place : 0));
      uses.push_back(use_of(bank_, s, std::move(mix)));
    }
    return uses;
  }

 private:
  const adapter::Bank& bank_;
  at::Tensor weights_;  ///< [T, places, E]
  const std::vector<std::int64_t>& places_;
};

/// The same rows over caches of their own: the first pass sees the base model's keys and values.
model::PackedBatch first_pass(const model::PackedBatch& batch, const std::vector<std::size_t>& requests,
                              std::vector<model::RowCache>& caches) {
  auto out = batch;
  for (std::size_t i = 0; i < out.rows.size(); ++i) {
    if (out.rows[i].cache) out.rows[i].cache = &caches.at(requests[i]);
  }
  return out;
}

}  // namespace

void describe(XLoraNetwork& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a token and site; the others' weights become 0");
  describe_temperature(set, o.temperature, "of the softmax");
}

XLoraRouter::XLoraRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model,
                         XLoraNetwork network)
    : bank_(std::move(bank)), model_(model), network_(std::move(network)) {
  check_site_experts(*bank_, "xlora");
  for (std::size_t s = 0; s < model.sites().size(); ++s)
    touched_.push_back(bank_->touches(static_cast<std::int64_t>(s)) ? places_++ : -1);
  const auto expected = bank_->size() * (network_.per_site ? places_ : 1);
  QUIVER_CHECK(!network_.weights.empty() && network_.weights.back().size(0) == expected, mismatch, "x-lora",
               "the network gives {} weights, {} sites and {} experts need {}",
               network_.weights.empty() ? 0 : network_.weights.back().size(0), places_, bank_->size(), expected);
}

at::Tensor XLoraRouter::weights(const at::Tensor& hidden) const {
  auto x = hidden.to(at::kFloat);
  for (std::size_t i = 0; i < network_.weights.size(); ++i) {
    x = at::linear(x, network_.weights[i], network_.biases[i]);
    if (i + 1 < network_.weights.size()) x = at::relu(x);
  }
  auto logits = x.view({x.size(0), -1, bank_->size()});
  if (network_.softmax) logits = (logits / network_.temperature).softmax(2);
  if (network_.top_k > 0 && network_.top_k < bank_->size()) {
    const auto [values, places] = at::topk(logits.detach(), network_.top_k, 2);
    logits = logits * at::zeros_like(logits).scatter_(2, places, 1.0);
  }
  return logits * network_.scaling;
}

model::BindExperts XLoraRouter::start(const std::vector<Request>& requests) const {
  auto caches = std::make_shared<std::vector<model::RowCache>>(requests.size());
  return [this, caches](const model::PackedBatch& batch, const std::vector<std::size_t>& numbers) {
    at::Tensor hidden;
    {
      const c10::AutoGradMode no_gradient(false);
      hidden = model_.forward(first_pass(batch, numbers, *caches), nullptr);
    }
    return std::make_unique<WeightedSource>(*bank_, weights(hidden), touched_);
  };
}

}  // namespace quiver::routing
