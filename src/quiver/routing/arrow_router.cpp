// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/arrow_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::routing {

/// Routes every token of one pass at every site.
class ArrowSource : public model::ExpertSource {
 public:
  explicit ArrowSource(const ArrowRouter& router) : router_(router) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    const bool any =
        std::any_of(sites.begin(), sites.end(), [&](const auto& s) { return router_.bank_->touches(s.site); });
    if (!any) return uses;
    // Sites that share x share one GEMM: their prototypes lie side by side.
    const auto experts = router_.bank_->size();
    auto scores = ops::frozen_linear(normalised(x), router_.prototypes_.side_by_side(sites), {});
    if (!router_.options_.signed_score) scores.abs_();
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const auto& s = sites[i];
      if (!router_.bank_->touches(s.site)) continue;
      const auto column = static_cast<std::int64_t>(i) * experts;
      const auto own = without_absent(scores.narrow(1, column, experts), s.site);
      const auto mix =
          std::make_shared<const ops::Mix>(ops::top_k_mix(own, {router_.options_.top_k, temperature(x.size(1))}));
      uses.push_back({&router_.bank_->site(s.site), mix, s.begin, s.count, router_.options_.combine, {}});
    }
    return uses;
  }

 private:
  at::Tensor normalised(const at::Tensor& x) const {
    const auto wide = x.detach().to(at::kFloat);
    switch (router_.options_.input_norm) {
      case ArrowOptions::InputNorm::none:
        return wide;
      case ArrowOptions::InputNorm::unit:
        return wide / wide.norm(2, {1}, true).clamp_min(1e-12);
      case ArrowOptions::InputNorm::layer:
        return at::layer_norm(wide, {wide.size(1)});
    }
    return wide;
  }

  double temperature(std::int64_t in) const {
    return router_.options_.temperature > 0 ? router_.options_.temperature : std::sqrt(static_cast<double>(in));
  }

  /// Experts that do not touch the site never win a place.
  at::Tensor without_absent(const at::Tensor& scores, std::int64_t site) const {
    const auto& experts = router_.bank_->site(site).experts;
    at::Tensor out = scores;
    for (std::size_t e = 0; e < experts.size(); ++e) {
      if (experts[e].a.defined()) continue;
      if (out.is_same(scores)) out = scores.clone();
      out.select(1, static_cast<std::int64_t>(e)).fill_(-std::numeric_limits<float>::infinity());
    }
    return out;
  }

  const ArrowRouter& router_;
};

PrototypeTable::PrototypeTable(const std::vector<at::Tensor>& of_sites) {
  std::vector<at::Tensor> flat;
  std::int64_t offset = 0;
  for (const auto& prototypes : of_sites) {
    flat.push_back(prototypes.to(at::kFloat).reshape(-1));
    shapes_.push_back({offset, prototypes.size(0), prototypes.size(1)});
    offset += prototypes.numel();
  }
  all_ = flat.empty() ? at::zeros({0}, at::kFloat) : at::cat(flat, 0);
}

at::Tensor PrototypeTable::side_by_side(const std::vector<model::SiteColumns>& sites) const {
  const auto& first = shapes_.at(static_cast<std::size_t>(sites.front().site));
  for (std::size_t i = 0; i < sites.size(); ++i) {
    QUIVER_CHECK(sites[i].site == sites[0].site + static_cast<std::int64_t>(i), mismatch, "arrow",
                 "sites {} and {} share an input and are not neighbours", sites[0].site, sites[i].site);
  }
  const auto rows = first.experts * static_cast<std::int64_t>(sites.size());
  return all_.narrow(0, first.offset, rows * first.in).view({rows, first.in});
}

ArrowRouter::ArrowRouter(std::shared_ptr<const adapter::Bank> bank, const std::vector<at::Tensor>& prototypes,
                         ArrowOptions options)
    : bank_(std::move(bank)), prototypes_(prototypes), options_(options) {
  QUIVER_CHECK(prototypes.size() == bank_->model_sites().size(), mismatch, "arrow",
               "prototypes of {} sites for a model of {}", prototypes.size(), bank_->model_sites().size());
  QUIVER_CHECK(bank_->size() > 0, usage, "--route arrow", "the library has no experts");
}

std::unique_ptr<model::ExpertSource> ArrowRouter::bind(const model::PackedBatch&,
                                                       const std::vector<std::string>&) const {
  return std::make_unique<ArrowSource>(*this);
}

}  // namespace quiver::routing
