// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/weight_router.h"

#include <ATen/TensorOperators.h>

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
      const auto own = weights_[place_of(bank_.model_sites(), s.site, granularity_)];
      auto mix = ops::mix_of_dense(own.unsqueeze(0).expand({x.size(0), own.size(0)}));
      uses.push_back(use_of(bank_, s, std::move(mix), combine_));
    }
    return uses;
  }

 private:
  const adapter::Bank& bank_;
  at::Tensor weights_;
  Granularity granularity_;
  ops::Combine combine_;
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
