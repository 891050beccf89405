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
      if (place >= 0) uses.push_back(use_of(bank_, s, mix_at(weights_.size(1) > 1 ? place : 0)));
    }
    return uses;
  }

 private:
  /// The one mix of all sites is built once, but where gradients reach it.
  std::shared_ptr<const ops::Mix> mix_at(std::int64_t place) {
    const bool kept = weights_.size(1) == 1 && !(weights_.requires_grad() && c10::GradMode::is_enabled());
    if (kept && of_all_) return of_all_;
    auto mix = std::make_shared<const ops::Mix>(ops::mix_of_dense(weights_.select(1, place)));
    if (kept) of_all_ = mix;
    return mix;
  }

  const adapter::Bank& bank_;
  at::Tensor weights_;  ///< [T, places, E]
  const std::vector<std::int64_t>& places_;
  std::shared_ptr<const ops::Mix> of_all_;
};

/// Keys and values of a request's first pass.
struct FirstPass {
  model::RowCache cache;
};

}  // namespace

void describe(XLoraNetwork& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a token and site; the others' weights become 0");
  describe_temperature(set, o.temperature, "of the softmax");
}

void describe_shape(int& depth, bool& per_site, OptionSet& set) {
  constexpr double kDeepest = 64;
  set.integer("depth", depth, between(1, kDeepest), "linear maps")
      .flag("per_site", per_site, "weights of its own for each site");
}

XLoraRouter::XLoraRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model, XLoraNetwork network)
    : bank_(std::move(bank)), model_(model), network_(std::move(network)) {
  bank_->require({"route xlora", adapter::kAtSites});
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

class XLoraRouter::XLoraSessions : public StateSessions<FirstPass> {
 public:
  explicit XLoraSessions(const XLoraRouter& router) : router_(router) {}

 protected:
  std::vector<FirstPass> start(const std::vector<Request>& requests) override {
    return std::vector<FirstPass>(requests.size());
  }
  FirstPass branched(const FirstPass& state) const override { return {state.cache.copy()}; }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) override {
    at::Tensor hidden;
    {
      const c10::AutoGradMode no_gradient(false);
      hidden = router_.model_.forward(first_pass(batch, states), nullptr);
    }
    return std::make_unique<WeightedSource>(*router_.bank_, router_.weights(hidden), router_.touched_);
  }

 private:
  /// The same rows over the caches of the first pass. A pass that was bound and never ran has left tokens there.
  static model::PackedBatch first_pass(const model::PackedBatch& batch, const States& states) {
    auto out = batch;
    for (std::size_t i = 0; i < out.rows.size(); ++i) {
      if (!out.rows[i].cache) continue;
      auto& own = states[i]->cache;
      own.truncate(out.rows[i].cache->length());
      QUIVER_CHECK(own.length() == out.rows[i].cache->length(), mismatch, "x-lora",
                   "a row goes on after {} tokens, its first pass has read {}", out.rows[i].cache->length(),
                   own.length());
      out.rows[i].cache = &own;
    }
    return out;
  }

  const XLoraRouter& router_;
};

std::unique_ptr<Sessions> XLoraRouter::sessions() const { return std::make_unique<XLoraSessions>(*this); }

}  // namespace quiver::routing
