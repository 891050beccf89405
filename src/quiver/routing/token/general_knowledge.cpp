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
      .choice("convention", options.convention,
              {{"products", Convention::products}, {"factors", Convention::factors}},
              "take B A from B A, or A from A and B from B as the authors and PEFT do");
}

std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               const GeneralKnowledge& options) {
  auto out = std::make_shared<adapter::Bank>(bank.empty_copy());
  const auto& sites = bank.model_sites();
  for (std::int64_t e = 0; e < bank.size(); ++e) {
    const auto& name = bank.names()[static_cast<std::size_t>(e)];
    adapter::Adapter changed;
    for (std::size_t s = 0; s < sites.size() && e != general; ++s) {
      const auto& experts = bank.site(static_cast<std::int64_t>(s)).experts;
      const auto& own = experts[static_cast<std::size_t>(e)];
      const auto& common = experts[static_cast<std::size_t>(general)];
      if (!own.a.defined()) continue;
      auto& factors = changed.sites[sites[s].name];
      factors = own;
      if (!common.a.defined()) continue;
      factors = options.convention == GeneralKnowledge::Convention::products
                    ? less_product(own, common, options.weight)
                    : less_factors(own, common, options.weight, name, sites[s].name);
    }
    out->add(name, changed);
  }
  return out;
}

}  // namespace quiver::routing
