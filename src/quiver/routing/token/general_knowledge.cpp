// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/general_knowledge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

/// s B A - w s_g B_g A_g as one pair of factors of scale 1.
ops::LoraFactors less_product(const ops::LoraFactors& own, const ops::LoraFactors& general, double weight) {
  return {at::cat({own.a, general.a}, 0), at::cat({own.b * own.scale, general.b * (-weight * general.scale)}, 1), 1.0};
}

ops::LoraFactors less_factors(const ops::LoraFactors& own, const ops::LoraFactors& general, double weight,
                              const std::string& expert, const std::string& site) {
  QUIVER_CHECK(own.a.size(0) == general.a.size(0), mismatch, "convention=factors",
               "expert '{}' has rank {} at {}, general has {}; factors are subtracted where ranks are equal, "
               "convention=products takes any",
               expert, own.a.size(0), site, general.a.size(0));
  return {own.a - general.a * weight, own.b - general.b * weight, own.scale};
}

}  // namespace

void describe(GeneralKnowledge& options, OptionSet& set) {
  using Convention = GeneralKnowledge::Convention;
  set.number("general_weight", options.weight, any_number(), "how much of it is taken")
      .choice("convention", options.convention, {{"products", Convention::products}, {"factors", Convention::factors}},
              "take B A from B A, or A from A and B from B as the authors and PEFT do");
}

std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               const GeneralKnowledge& options) {
  constexpr adapter::Traits kTaken{adapter::Trait::low_rank};
  // A scale of outputs would scale what is taken away, too.
  constexpr auto kLeft = adapter::kAtSites.without({adapter::Trait::output_scale});
  const auto& sites = bank.model_sites();
  auto out = std::make_shared<adapter::Bank>(bank.empty_copy());
  for (std::int64_t e = 0; e < bank.size(); ++e) {
    const auto& name = bank.names()[static_cast<std::size_t>(e)];
    const bool factors = bank.traits(e).has(adapter::Trait::low_rank);
    if (e == general || factors)
      adapter::require(name, bank.kinds(e), bank.traits(e), {"general=", e == general ? kTaken : kLeft});
    auto changed = e == general ? adapter::Adapter{} : bank.expert(e);
    for (std::size_t s = 0; s < sites.size() && !changed.sites.empty(); ++s) {
      const auto found = changed.sites.find(sites[s].name);
      const auto& common = bank.site(static_cast<std::int64_t>(s)).experts[static_cast<std::size_t>(general)];
      if (found == changed.sites.end() || !common.a.defined()) continue;
      auto& factors_of_site = found->second;
      factors_of_site = options.convention == GeneralKnowledge::Convention::products
                            ? less_product(factors_of_site, common, options.weight)
                            : less_factors(factors_of_site, common, options.weight, name, sites[s].name);
    }
    out->add(name, changed);
  }
  return out;
}

}  // namespace quiver::routing
