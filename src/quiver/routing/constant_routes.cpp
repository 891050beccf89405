// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

using Pairs = std::vector<ops::ExpertWeight>;

struct CombineOption {
  ops::Combine combine = ops::Combine::outputs;
};
void describe(CombineOption& options, OptionSet& set) { describe_combine(set, options.combine); }

std::unique_ptr<Router> make_base(const NoOptions&, const RouteSpec&, const RouterInputs& inputs) {
  return std::make_unique<ConstantRouter>(inputs.bank, Pairs{});
}

std::unique_ptr<Router> make_expert(const NoOptions&, const RouteSpec& spec, const RouterInputs& inputs) {
  return std::make_unique<ConstantRouter>(inputs.bank, Pairs{{inputs.bank->number(spec.argument), 1.0f}});
}

/// Each expert's weight is an option of its name.
struct MixOptions {
  CombineOption how;
  std::vector<std::pair<std::string, double>> weights;
};

bool starts_a_number(const std::string& text) {
  return !text.empty() && std::string_view("+-.0123456789").find(text[0]) != std::string_view::npos;
}

MixOptions mix_options(const RouteSpec& spec) {
  constexpr double kLargest = 1e6;
  QUIVER_CHECK(!spec.options.empty() && spec.argument.empty(), usage, spec.where(),
               "expected mix:NAME=WEIGHT,NAME=WEIGHT");
  MixOptions out;
  std::deque<double> weights;  // which stay where they are
  OptionSet how, set;
  describe(out.how, how);
  for (const auto& [name, value] : spec.options) {
    const auto where = spec.where() + " " + name;
    if (name == "combine" && !starts_a_number(value)) {  // an expert may be called so, too
      how.assign(name, value, where);
      continue;
    }
    if (!set.find(name))
      set.number(name, weights.emplace_back(0.0), between(-kLargest, kLargest), "the expert's weight");
    set.assign(name, value, where);
  }
  QUIVER_CHECK(!weights.empty(), usage, spec.where(), "no expert's weight, expected mix:NAME=WEIGHT,NAME=WEIGHT");
  for (std::size_t i = 0; i < weights.size(); ++i) out.weights.emplace_back(set.options()[i].name, weights[i]);
  return out;
}

RouteEntry mix_route() {
  RouteEntry entry{"mix", "NAME=WEIGHT,...", "fixed weights for all tokens", nullptr, nullptr, nullptr};
  entry.describe = [](const auto& show) {
    CombineOption options;
    OptionSet set;
    describe(options, set);
    show(set);
  };
  entry.check = [](const RouteSpec& spec) { mix_options(spec); };
  entry.make = [](const RouteSpec& spec, const RouterInputs& inputs) {
    const auto options = mix_options(spec);
    Pairs pairs;
    for (const auto& [name, weight] : options.weights) {
      const auto number = inputs.bank->number(name);
      if (weight != 0.0) pairs.emplace_back(number, static_cast<float>(weight));
    }
    return std::make_unique<ConstantRouter>(inputs.bank, pairs, options.how.combine);
  };
  return entry;
}

std::unique_ptr<Router> make_uniform(const CombineOption& options, const RouteSpec& spec, const RouterInputs& inputs) {
  check_any(spec, inputs);
  Pairs pairs;
  for (std::int64_t e = 0; e < inputs.bank->size(); ++e)
    pairs.emplace_back(e, 1.0f / static_cast<float>(inputs.bank->size()));
  return std::make_unique<ConstantRouter>(inputs.bank, pairs, options.combine);
}

std::unique_ptr<Router> make_oracle(const NoOptions&, const RouteSpec&, const RouterInputs& inputs) {
  return std::make_unique<OracleRouter>(inputs);
}

}  // namespace

std::vector<RouteEntry> constant_routes() {
  return {
      route("base", "", "the base model alone", NoOptions{}, make_base),
      route("expert", "NAME", "one expert for all tokens", NoOptions{}, make_expert),
      mix_route(),
      route("uniform", "", "all experts, equally", CombineOption{}, make_uniform),
      route("oracle", "", "the experts trained on the row's own task", NoOptions{}, make_oracle),
  };
}

}  // namespace quiver::routing
