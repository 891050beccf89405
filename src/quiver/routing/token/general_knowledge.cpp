// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/general_knowledge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

namespace quiver::routing {
namespace {

/// s B A - weight s_g B_g A_g as one pair of factors of scale 1.
ops::LoraFactors difference(const ops::LoraFactors& own, const ops::LoraFactors& general, double weight) {
  if (!general.a.defined()) return own;
  return {at::cat({own.a, general.a}, 0), at::cat({own.b * own.scale, general.b * (-weight * general.scale)}, 1), 1.0};
}

}  // namespace

std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               double weight) {
  constexpr adapter::Traits kTaken{adapter::Trait::low_rank};
  // A scale of outputs would scale what is taken away, too.
  constexpr auto kLeft = adapter::kAtSites.without({adapter::Trait::output_scale});
  auto out = std::make_shared<adapter::Bank>(bank.empty_copy());
  for (std::int64_t e = 0; e < bank.size(); ++e) {
    const auto& name = bank.names()[static_cast<std::size_t>(e)];
    const bool factors = bank.traits(e).has(adapter::Trait::low_rank);
    if (e == general || factors)
      adapter::require(name, bank.kinds(e), bank.traits(e), {"general=", e == general ? kTaken : kLeft});
    auto changed = e == general ? adapter::Adapter{} : bank.expert(e);
    for (std::size_t s = 0; s < bank.model_sites().size(); ++s) {
      const auto own = changed.sites.find(bank.model_sites()[s].name);
      if (own == changed.sites.end()) continue;
      const auto& known = bank.site(static_cast<std::int64_t>(s)).experts[static_cast<std::size_t>(general)];
      own->second = difference(own->second, known, weight);
    }
    out->add(name, changed);
  }
  return out;
}

}  // namespace quiver::routing
