// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/router_table.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/arrow_router.h"
#include "quiver/routing/constant_router.h"

namespace quiver::routing {
namespace {

using Make = std::unique_ptr<Router> (*)(const RouteSpec&, const RouterInputs&);

ops::Combine combine_of(const RouteSpec& spec) {
  const auto name = spec.find("combine").value_or("outputs");
  QUIVER_CHECK(name == "outputs" || name == "factors", usage, "--route " + spec.text,
               "combine={}, expected outputs or factors", name);
  return name == "factors" ? ops::Combine::factors : ops::Combine::outputs;
}

std::unique_ptr<Router> make_base(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({});
  return std::make_unique<ConstantRouter>(inputs.bank, std::vector<ops::ExpertWeight>{});
}

std::unique_ptr<Router> make_expert(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty() && spec.options.empty(), usage, "--route " + spec.text, "expected expert:NAME");
  return std::make_unique<ConstantRouter>(inputs.bank,
                                          std::vector<ops::ExpertWeight>{{inputs.bank->number(spec.argument), 1.0f}});
}

std::unique_ptr<Router> make_mix(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.options.empty() && spec.argument.empty(), usage, "--route " + spec.text,
               "expected mix:NAME=WEIGHT,NAME=WEIGHT");
  std::vector<ops::ExpertWeight> pairs;
  for (const auto& [name, value] : spec.options) {
    if (name == "combine") continue;
    pairs.emplace_back(inputs.bank->number(name), static_cast<float>(spec.number(name, 0.0)));
  }
  return std::make_unique<ConstantRouter>(inputs.bank, pairs, combine_of(spec));
}

std::unique_ptr<Router> make_uniform(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"combine"});
  QUIVER_CHECK(inputs.bank->size() > 0, usage, "--route uniform", "the library has no experts");
  std::vector<ops::ExpertWeight> pairs;
  for (std::int64_t e = 0; e < inputs.bank->size(); ++e)
    pairs.emplace_back(e, 1.0f / static_cast<float>(inputs.bank->size()));
  return std::make_unique<ConstantRouter>(inputs.bank, pairs, combine_of(spec));
}

std::unique_ptr<Router> make_oracle(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({});
  return std::make_unique<OracleRouter>(inputs);
}

std::unique_ptr<Router> make_arrow(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"top_k", "temperature", "combine", "input_norm", "scale", "score"});
  const auto where = "--route " + spec.text;
  ArrowOptions options;
  if (spec.find("top_k") == "all") {
    options.top_k = 0;
  } else {
    const double k = spec.number("top_k", 3);
    QUIVER_CHECK(k >= 1 && k == static_cast<double>(static_cast<std::int64_t>(k)), usage, where,
                 "top_k={}, expected 1 or more, or all", k);
    options.top_k = static_cast<std::int64_t>(k);
  }
  if (spec.find("temperature") == "sqrt") {
    options.temperature = 0.0;
  } else {
    options.temperature = spec.number("temperature", 1.0);
    QUIVER_CHECK(options.temperature > 0, usage, where, "temperature={}, expected a positive number or sqrt",
                 options.temperature);
  }
  const auto norm = spec.find("input_norm").value_or("none");
  QUIVER_CHECK(norm == "none" || norm == "unit" || norm == "layer", usage, where,
               "input_norm={}, expected none, unit or layer", norm);
  options.input_norm = norm == "unit"    ? ArrowOptions::InputNorm::unit
                       : norm == "layer" ? ArrowOptions::InputNorm::layer
                                         : ArrowOptions::InputNorm::none;
  const auto score = spec.find("score").value_or("abs");
  QUIVER_CHECK(score == "abs" || score == "signed", usage, where, "score={}, expected abs or signed", score);
  options.signed_score = score == "signed";
  options.combine = combine_of(spec);
  QUIVER_CHECK(inputs.bank->size() > 0, usage, where, "the library has no experts");
  return std::make_unique<ArrowRouter>(inputs.bank, inputs.prototypes(spec.flag("scale", false)), options);
}

struct Entry {
  RouteHelp help;
  Make make;
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> table{
      {{"base", "", "the base model alone"}, make_base},
      {{"expert", ":NAME", "one expert for all tokens"}, make_expert},
      {{"mix", ":NAME=WEIGHT,...", "fixed weights for all tokens"}, make_mix},
      {{"uniform", ":combine=outputs|factors", "all experts, equally"}, make_uniform},
      {{"oracle", "", "the experts trained on the row's own task"}, make_oracle},
      {{"arrow",
        ":top_k=N|all,temperature=T|sqrt,combine=outputs|factors,input_norm=none|unit|layer,score=abs|signed,scale="
        "true|false",
        "per token and site, by alignment with the experts' prototypes"},
       make_arrow},
  };
  return table;
}

}  // namespace

const std::vector<RouteHelp>& route_table() {
  static const std::vector<RouteHelp> help = [] {
    std::vector<RouteHelp> out;
    for (const auto& entry : entries()) out.push_back(entry.help);
    return out;
  }();
  return help;
}

std::unique_ptr<Router> make_router(const RouteSpec& spec, const RouterInputs& inputs) {
  std::vector<std::string> names;
  for (const auto& entry : entries()) {
    if (entry.help.name == spec.name) return entry.make(spec, inputs);
    names.push_back(entry.help.name);
  }
  fail(ErrorCode::usage, "--route", "no route '{}'{}", spec.name, suggestion(spec.name, names));
}

bool applies_to_unseen_tasks(const RouteSpec& spec) { return spec.name != "oracle"; }

}  // namespace quiver::routing
