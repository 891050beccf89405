// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

using Pairs = std::vector<ops::ExpertWeight>;

std::unique_ptr<Router> make_base(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({});
  return std::make_unique<ConstantRouter>(inputs.bank, Pairs{});
}

std::unique_ptr<Router> make_expert(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty() && spec.options.empty(), usage, "--route " + spec.text, "expected expert:NAME");
  return std::make_unique<ConstantRouter>(inputs.bank, Pairs{{inputs.bank->number(spec.argument), 1.0f}});
}

std::unique_ptr<Router> make_mix(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.options.empty() && spec.argument.empty(), usage, "--route " + spec.text,
               "expected mix:NAME=WEIGHT,NAME=WEIGHT");
  Pairs pairs;
  for (const auto& [name, value] : spec.options) {
    if (name == "combine") continue;
    const auto weight = static_cast<float>(spec.number(name, 0.0));
    const auto number = inputs.bank->number(name);
    if (weight != 0.0f) pairs.emplace_back(number, weight);
  }
  return std::make_unique<ConstantRouter>(inputs.bank, pairs, combine_of(spec));
}

std::unique_ptr<Router> make_uniform(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"combine"});
  QUIVER_CHECK(inputs.bank->size() > 0, usage, "--route uniform", "the library has no experts");
  Pairs pairs;
  for (std::int64_t e = 0; e < inputs.bank->size(); ++e)
    pairs.emplace_back(e, 1.0f / static_cast<float>(inputs.bank->size()));
  return std::make_unique<ConstantRouter>(inputs.bank, pairs, combine_of(spec));
}

std::unique_ptr<Router> make_oracle(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({});
  return std::make_unique<OracleRouter>(inputs);
}

}  // namespace

std::vector<RouteEntry> constant_routes() {
  return {
      {{"base", "", "the base model alone"}, make_base},
      {{"expert", ":NAME", "one expert for all tokens"}, make_expert},
      {{"mix", ":NAME=WEIGHT,...", "fixed weights for all tokens"}, make_mix},
      {{"uniform", ":combine=outputs|factors", "all experts, equally"}, make_uniform},
      {{"oracle", "", "the experts trained on the row's own task"}, make_oracle},
  };
}

}  // namespace quiver::routing
