// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/weight_router.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <map>

#include "quiver/base/error.h"
#include "quiver/routing/site_use.h"

namespace quiver::routing {
namespace {

class PlaceSource : public model::ExpertSource {
 public:
  PlaceSource(const adapter::Bank& bank, at::Tensor weights, Granularity granularity, ops::Combine combine)
      : bank_(bank), weights_(std::move(weights)), granularity_(granularity), combine_(combine) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    for (const auto& s : sites) {
      if (!bank_.touches(s.site)) continue;
      uses.push_back(
          use_of(bank_, s, mix_at(place_of(bank_.model_sites(), s.site, granularity_), x.size(0)), combine_));
    }
    return uses;
  }

 private:
  /// Built once for a place, but for one that gradients reach.
  std::shared_ptr<const ops::Mix> mix_at(std::int64_t place, std::int64_t tokens) {
    const auto own = weights_[place];
    if (own.requires_grad() && c10::GradMode::is_enabled())
      return std::make_shared<const ops::Mix>(ops::mix_of_dense(own.unsqueeze(0).expand({tokens, own.size(0)})));
    auto& kept = kept_[place];
    if (kept && kept->tokens == tokens) return kept;
    const auto values = own.detach().contiguous();
    std::vector<ops::ExpertWeight> pairs;
    for (std::int64_t e = 0; e < values.size(0); ++e) {
      const float weight = values.const_data_ptr<float>()[e];
      if (weight != 0.0f) pairs.emplace_back(e, weight);
    }
    kept = std::make_shared<const ops::Mix>(ops::constant_mix(tokens, pairs));
    return kept;
  }

  const adapter::Bank& bank_;
  at::Tensor weights_;
  Granularity granularity_;
  ops::Combine combine_;
  std::map<std::int64_t, std::shared_ptr<const ops::Mix>> kept_;  ///< by place
};

}  // namespace

void describe(PlaceWeights& o, OptionSet& set) {
  set.choice("granularity", o.granularity,
             {{"model", Granularity::model}, {"layer", Granularity::layer}, {"site", Granularity::site}},
             "what has weights of its own")
      .flag("softmax", o.softmax, "weights are a softmax over the experts");
}

std::int64_t places(const std::vector<model::Site>& sites, Granularity granularity) {
  if (granularity == Granularity::model) return 1;
  if (granularity == Granularity::site) return static_cast<std::int64_t>(sites.size());
  std::int64_t layers = 0;
  for (const auto& site : sites) layers = std::max(layers, site.layer + 1);
  return layers;
}

std::int64_t place_of(const std::vector<model::Site>& sites, std::int64_t site, Granularity granularity) {
  if (granularity == Granularity::model) return 0;
  return granularity == Granularity::site ? site : sites[static_cast<std::size_t>(site)].layer;
}

at::Tensor weights_of(const PlaceWeights& weights) {
  return weights.softmax ? weights.values.softmax(1) : weights.values;
}

WeightRouter::WeightRouter(std::shared_ptr<const adapter::Bank> bank, PlaceWeights weights, ops::Combine combine)
    : bank_(std::move(bank)), weights_(std::move(weights)), combine_(combine) {
  bank_->require({"a route by place", adapter::kAtSites});
  const auto rows = places(bank_->model_sites(), weights_.granularity);
  QUIVER_CHECK(
      weights_.values.dim() == 2 && weights_.values.size(0) == rows && weights_.values.size(1) == bank_->size(),
      mismatch, "router", "weights of {} values, expected [{}, {}]", weights_.values.numel(), rows, bank_->size());
}

std::unique_ptr<model::ExpertSource> WeightRouter::bind(const model::PackedBatch&) const {
  return std::make_unique<PlaceSource>(*bank_, weights_of(weights_), weights_.granularity, combine_);
}

}  // namespace quiver::routing
