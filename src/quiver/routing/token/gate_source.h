// SPDX-License-Identifier: Apache-2.0
// One expert whose output is scaled by a gate of the site's input: how PhatGoose (arXiv 2402.05859) trains its gates.
#pragma once

#include <ATen/TensorOperators.h>

#include "quiver/adapter/bank.h"
#include "quiver/routing/site_use.h"
#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

/// Weight of `expert` for token x at a site: sigmoid(v . x), for the site's row v of `gates` (one row per site).
class GateSource : public model::ExpertSource {
 public:
  GateSource(const adapter::Bank& bank, std::int64_t expert, const SiteTable& gates)
      : bank_(bank), expert_(expert), gates_(gates) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    const auto wide = x.to(at::kFloat);
    for (const auto& s : sites) {
      if (!bank_.touches(s.site)) continue;
      ops::Mix mix;
      mix.tokens = x.size(0);
      mix.groups = {{expert_, 0, x.size(0), 0}};
      mix.weights = wide.matmul(gates_.site(s.site)[0]).sigmoid();
      uses.push_back(use_of(bank_, s, std::move(mix)));
    }
    return uses;
  }

 private:
  const adapter::Bank& bank_;
  std::int64_t expert_;
  const SiteTable& gates_;
};

}  // namespace quiver::routing
