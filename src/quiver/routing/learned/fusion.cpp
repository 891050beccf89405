// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/fusion.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <array>

#include "quiver/base/error.h"
#include "quiver/routing/described.h"

namespace quiver::routing {
namespace {

constexpr std::array<std::pair<const char*, at::Tensor FusionSite::*>, 5> kTensors{
    {{".query.weight", &FusionSite::query},
     {".query.bias", &FusionSite::query_bias},
     {".key.weight", &FusionSite::key},
     {".key.bias", &FusionSite::key_bias},
     {".value.weight", &FusionSite::value}}};

/// What an expert adds to y, in the order of ops/site_extras.h; not as a difference, which would lose digits.
at::Tensor added(const ops::LoraFactors& f, const ops::SiteExtras& extras, const at::Tensor& x, const at::Tensor& y) {
  const auto dtype = y.scalar_type();
  auto sum = at::zeros_like(y);
  if (f.a.defined()) sum = at::linear(at::linear(x, f.a.to(dtype)), f.b.to(dtype)) * f.scale;
  if (extras.output_scale.defined()) sum = sum + (y + sum) * (extras.output_scale - 1.0).to(dtype);
  if (extras.bias.defined()) sum = sum + extras.bias.to(dtype);
  if (!extras.bottleneck) return sum;
  return sum + ops::apply(*extras.bottleneck, extras.bottleneck->reads == ops::Reads::input ? x : y + sum);
}

class FusionSource : public model::ExpertSource {
 public:
  FusionSource(std::shared_ptr<const adapter::Bank> bank, std::shared_ptr<const Fusion> fusion)
      : bank_(std::move(bank)), fusion_(std::move(fusion)) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>&, const at::Tensor&) override { return {}; }

  at::Tensor finish(const std::vector<model::SiteColumns>& sites, const at::Tensor& x, at::Tensor y) override {
    auto out = y;
    for (const auto& site : sites) {
      const auto own = fusion_->sites.find(site.site);
      if (own == fusion_->sites.end()) continue;
      const auto state = y.narrow(1, site.begin, site.count);
      const auto z = fused(state, outputs(site.site, x, state), own->second, fusion_->temperature);
      out = sites.size() == 1 ? z : out.slice_scatter(z, 1, site.begin, site.begin + site.count);
    }
    return out;
  }

 private:
  /// What each expert that touches the site adds to y, [n, T, out].
  at::Tensor outputs(std::int64_t number, const at::Tensor& x, const at::Tensor& y) const {
    const auto& site = bank_->site(number);
    std::vector<at::Tensor> out;
    for (std::size_t e = 0; e < site.experts.size(); ++e) {
      if (bank_->touches(number, static_cast<std::int64_t>(e)))
        out.push_back(added(site.experts[e], site.extras.empty() ? ops::SiteExtras{} : site.extras[e], x, y));
    }
    return at::stack(out, 0);
  }

  std::shared_ptr<const adapter::Bank> bank_;
  std::shared_ptr<const Fusion> fusion_;
};

}  // namespace

void check_fusable(const adapter::Bank& bank) {
  // It adds outputs.
  bank.require({"route fusion", adapter::kAtSites.without({adapter::Trait::input_scale})});
}

at::Tensor fused(const at::Tensor& y, const at::Tensor& outputs, const FusionSite& site, double temperature) {
  const auto dtype = y.scalar_type();
  const auto query = at::linear(y, site.query.to(dtype), site.query_bias.to(dtype));
  const auto keys = at::linear(outputs, site.key.to(dtype), site.key_bias.to(dtype));
  const auto shares = ((keys * query).sum(2).to(at::kFloat) / temperature).softmax(0).to(dtype);
  // V once, on the sum: it is linear.
  return y + at::linear((outputs * shares.unsqueeze(2)).sum(0), site.value.to(dtype));
}

SavedRouter save_fusion(const std::string& name, const model::Model& model, const adapter::Bank& bank,
                        const Fusion& fusion) {
  SavedRouter out{name, "fusion", bank.names(), {{"temperature", fusion.temperature}}, nullptr, {}, {}};
  for (const auto& [number, site] : fusion.sites) {
    const auto& place = model.sites()[static_cast<std::size_t>(number)].name;
    for (const auto& [suffix, member] : kTensors)
      out.tensors[place + suffix] = (site.*member).detach().to(at::kFloat).contiguous();
  }
  return out;
}

Fusion read_fusion(const SavedRouter& saved, const model::Model& model) {
  Fusion out;
  OptionSet set;
  describe_temperature(set, out.temperature, "of the attention");
  saved.read_options(set);
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    const auto& place = model.sites()[s];
    if (!saved.has(place.name + kTensors[0].first)) continue;
    auto& site = out.sites[static_cast<std::int64_t>(s)];
    for (const auto& [suffix, member] : kTensors) {
      const bool bias = member == &FusionSite::query_bias || member == &FusionSite::key_bias;
      site.*member = bias ? saved.tensor(place.name + suffix, {place.out})
                          : saved.tensor(place.name + suffix, {place.out, place.out});
    }
  }
  QUIVER_CHECK(!out.sites.empty(), mismatch, saved.where(), "none of its tensors belongs to a site of the base model");
  return out;
}

FusionRouter::FusionRouter(std::shared_ptr<const adapter::Bank> bank, Fusion fusion)
    : bank_(std::move(bank)), fusion_(std::make_shared<const Fusion>(std::move(fusion))) {
  check_fusable(*bank_);
}

std::unique_ptr<model::ExpertSource> FusionRouter::bind(const model::PackedBatch&) const {
  return std::make_unique<FusionSource>(bank_, fusion_);
}

}  // namespace quiver::routing
