// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/arrow_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mm.h>

#include <cmath>
#include <limits>

#include "quiver/base/error.h"

namespace quiver::routing {

/// Routes every token of one pass at every site.
class ArrowSource : public model::ExpertSource {
 public:
  explicit ArrowSource(const ArrowRouter& router) : router_(router) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<at::Tensor> prototypes;
    for (const auto& s : sites) {
      if (router_.bank_->touches(s.site)) prototypes.push_back(router_.prototypes_[static_cast<std::size_t>(s.site)]);
    }
    std::vector<ops::SiteUse> uses;
    if (prototypes.empty()) return uses;
    // Sites that share x share one GEMM.
    const auto all = at::mm(normalised(x), (prototypes.size() == 1 ? prototypes[0] : at::cat(prototypes, 0)).t());
    const auto scores = router_.options_.signed_score ? all : all.abs();
    const auto experts = router_.bank_->size();
    std::int64_t column = 0;
    for (const auto& s : sites) {
      if (!router_.bank_->touches(s.site)) continue;
      const auto own = without_absent(scores.narrow(1, column, experts), s.site);
      const auto mix =
          std::make_shared<const ops::Mix>(ops::top_k_mix(own, {router_.options_.top_k, temperature(x.size(1))}));
      uses.push_back({&router_.bank_->site(s.site), mix, s.begin, s.count, router_.options_.combine, {}});
      column += experts;
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

ArrowRouter::ArrowRouter(std::shared_ptr<const adapter::Bank> bank, std::vector<at::Tensor> prototypes,
                         ArrowOptions options)
    : bank_(std::move(bank)), prototypes_(std::move(prototypes)), options_(options) {
  QUIVER_CHECK(prototypes_.size() == bank_->model_sites().size(), mismatch, "arrow",
               "prototypes of {} sites for a model of {}", prototypes_.size(), bank_->model_sites().size());
  QUIVER_CHECK(bank_->size() > 0, usage, "--route arrow", "the library has no experts");
}

std::unique_ptr<model::ExpertSource> ArrowRouter::bind(const model::PackedBatch&,
                                                       const std::vector<std::string>&) const {
  return std::make_unique<ArrowSource>(*this);
}

}  // namespace quiver::routing
