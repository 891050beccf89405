// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/general_knowledge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

namespace quiver::routing {
namespace {

/// s B A - weight s_g B_g A_g as one pair of factors of scale 1.
ops::LoraFactors difference(const ops::LoraFactors& own, const ops::LoraFactors& general, double weight) {
  if (!own.a.defined()) return own;
  if (!general.a.defined()) return own;
  return {at::cat({own.a, general.a}, 0), at::cat({own.b * own.scale, general.b * (-weight * general.scale)}, 1), 1.0};
}

}  // namespace

std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               double weight) {
  auto out = std::make_shared<adapter::Bank>(bank.empty_copy());
  const auto& sites = bank.model_sites();
  for (std::int64_t e = 0; e < bank.size(); ++e) {
    adapter::Adapter changed;
    for (std::size_t s = 0; s < sites.size() && e != general; ++s) {
      const auto& experts = bank.site(static_cast<std::int64_t>(s)).experts;
      auto factors =
          difference(experts[static_cast<std::size_t>(e)], experts[static_cast<std::size_t>(general)], weight);
      if (factors.a.defined()) changed.sites[sites[s].name] = std::move(factors);
    }
    out->add(bank.names()[static_cast<std::size_t>(e)], changed);
  }
  return out;
}

}  // namespace quiver::routing
