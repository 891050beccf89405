// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/expert_rows.h"
#include "quiver/routing/token/general_knowledge.h"
#include "quiver/routing/token/grouped_scores.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/token/token_router.h"

namespace quiver::routing {
namespace {

const std::vector<std::string> kNorms{"none", "unit", "layer"};

/// What a route's options fall back to.
struct Defaults {
  std::int64_t top_k = 3;
  double temperature = 1.0;  ///< 0: sqrt
  const char *combine = "outputs", *input_norm = "none", *prototype_norm = "none", *score = "abs";
  bool by_factors = true;  ///< the scores come from the experts' factors, not from data of theirs
};

const std::vector<std::string> kMixOptions{"top_k", "top_p", "temperature", "combine", "share_of_all"};

std::vector<std::string> with_mix_options(std::vector<std::string> own) {
  own.insert(own.end(), kMixOptions.begin(), kMixOptions.end());
  return own;
}

TokenMixOptions mix_options(const RouteSpec& spec, const Defaults& defaults) {
  TokenMixOptions out;
  out.top_k = count_of(spec, "top_k", defaults.top_k);
  out.top_p = spec.number("top_p", 1.0);
  QUIVER_CHECK(out.top_p > 0 && out.top_p <= 1, usage, "--route " + spec.text, "top_p={}, expected above 0, at most 1",
               out.top_p);
  const bool by_width = spec.find("temperature") == "sqrt";
  out.temperature = by_width ? 0.0 : spec.number("temperature", defaults.temperature);
  QUIVER_CHECK(!spec.find("temperature") || by_width || out.temperature > 0, usage, "--route " + spec.text,
               "temperature={}, expected a positive number or sqrt", out.temperature);
  out.share_of_all = spec.flag("share_of_all", false);
  out.combine = combine_of(spec, defaults.combine);
  out.by_factors = defaults.by_factors;
  return out;
}

DirectionScoreOptions score_options(const RouteSpec& spec, const Defaults& defaults) {
  DirectionScoreOptions out;
  out.input_norm = static_cast<Norm>(choice_of(spec, "input_norm", kNorms, defaults.input_norm));
  out.direction_norm = static_cast<Norm>(choice_of(spec, "prototype_norm", kNorms, defaults.prototype_norm));
  out.signed_score = choice_of(spec, "score", {"abs", "signed"}, defaults.score) == 1;
  out.centred = spec.flag("centred", false);
  return out;
}

void check_any(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.bank->size() > 0, usage, "--route " + spec.text, "the library has no experts");
}

/// Experts without factors have no score where these are what scores come from.
void say_who_is_never_chosen(const RouteSpec& spec, const RouterInputs& inputs) {
  std::vector<std::string> names;
  for (std::int64_t e = 0; e < inputs.bank->size(); ++e) {
    if (!inputs.bank->traits(e).has(adapter::Trait::low_rank))
      names.push_back(inputs.bank->names()[static_cast<std::size_t>(e)]);
  }
  if (names.empty() || !inputs.progress) return;
  inputs.progress->say(fmt::format("--route {} chooses by low-rank factors and never chooses experts without any: {}",
                                   spec.name, join(names, ", ")));
}

std::unique_ptr<Router> routed_by(const RouteSpec& spec, std::shared_ptr<const adapter::Bank> bank, SiteTable table,
                                  const Defaults& defaults) {
  const auto experts = bank->size();
  auto scores = std::make_shared<DirectionScores>(std::move(table), experts, score_options(spec, defaults));
  return std::make_unique<TokenRouter>(std::move(bank), std::move(scores), mix_options(spec, defaults));
}

std::unique_ptr<Router> make_arrow(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options(with_mix_options({"input_norm", "prototype_norm", "score", "centred", "scale", "directions", "tie",
                                       "general", "general_weight", "search", "groups", "probes"}));
  check_any(spec, inputs);
  say_who_is_never_chosen(spec, inputs);
  auto bank = inputs.bank;
  if (const auto general = spec.find("general"))
    bank = without_general_knowledge(*bank, bank->number(*general), spec.number("general_weight", 1.0));
  DirectionOptions directions;
  directions.count = count_of(spec, "directions", 1);
  directions.tie_qkv = choice_of(spec, "tie", {"none", "qkv"}, "none") == 1;
  if (spec.flag("scale", false)) directions.length = DirectionOptions::Length::sigma_squared;
  const bool plain =
      directions.count == 1 && !directions.tie_qkv && directions.length == DirectionOptions::Length::unit;
  auto table = inputs.library && plain && bank == inputs.bank
                   ? library_prototypes(*inputs.library, *bank, *inputs.progress)
                   : compute_directions(*bank, directions, *inputs.progress);
  if (choice_of(spec, "search", {"exact", "groups"}, "exact") == 1) {
    const bool plain_scores =
        !spec.find("score") && !spec.find("input_norm") && !spec.find("prototype_norm") && !spec.find("centred");
    QUIVER_CHECK(plain_scores, usage, "--route " + spec.text,
                 "search=groups takes no score, input_norm, prototype_norm or centred");
    auto scores =
        std::make_shared<GroupedScores>(table, bank->size(), bank->model_sites(),
                                        GroupOptions{count_of(spec, "groups", 0), count_of(spec, "probes", 4)});
    return std::make_unique<TokenRouter>(std::move(bank), std::move(scores), mix_options(spec, {}));
  }
  return routed_by(spec, bank, std::move(table), {});
}

std::unique_ptr<Router> make_spectr(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options(with_mix_options({"input_norm", "directions"}));
  check_any(spec, inputs);
  say_who_is_never_chosen(spec, inputs);
  DirectionOptions directions;
  directions.count = count_of(spec, "directions", 0);
  directions.length = DirectionOptions::Length::gain;
  return routed_by(spec, inputs.bank, compute_directions(*inputs.bank, directions, *inputs.progress), {});
}

std::unique_ptr<Router> make_seqr(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options(kMixOptions);
  check_any(spec, inputs);
  return std::make_unique<TokenRouter>(inputs.bank, std::make_shared<SharedInputScores>(*inputs.bank),
                                       mix_options(spec, {.top_k = 1}));
}

/// Routes over rows that were prepared from the experts' own data.
std::unique_ptr<Router> from_prepared(const RouteSpec& spec, const RouterInputs& inputs, const Defaults& defaults) {
  spec.check_options(with_mix_options({"input_norm", "prototype_norm", "score", "centred"}));
  check_any(spec, inputs);
  QUIVER_CHECK(inputs.library, usage, "--route " + spec.text, "it needs data kept in a library; give --library DIR");
  return routed_by(spec, inputs.bank, read_expert_rows(*inputs.library, *inputs.bank, spec.name), defaults);
}

std::unique_ptr<Router> make_average_activation(const RouteSpec& spec, const RouterInputs& inputs) {
  return from_prepared(
      spec, inputs,
      {.top_k = 0,
       .temperature = 0.0,
       .combine = "factors",
       .prototype_norm = "unit",
       .score = "signed",
       .by_factors = false});
}

std::unique_ptr<Router> make_phatgoose(const RouteSpec& spec, const RouterInputs& inputs) {
  return from_prepared(
      spec, inputs,
      {.top_k = 2,
       .temperature = 0.0,
       .input_norm = "layer",
       .prototype_norm = "layer",
       .score = "signed",
       .by_factors = false});
}

constexpr const char* kMixHelp = ":top_k=N|all,top_p=P,temperature=T|sqrt,combine=outputs|factors";
constexpr const char* kScoreHelp = ",input_norm=none|unit|layer,prototype_norm=none|unit|layer,score=abs|signed";

}  // namespace

std::vector<RouteEntry> token_routes() {
  const std::string mix = kMixHelp, score = kScoreHelp;
  return {
      {{"arrow",
        mix + score + ",scale=true|false,directions=J,tie=none|qkv,general=EXPERT,search=exact|groups,probes=N",
        "per token and site, by alignment with the experts' first singular directions"},
       make_arrow},
      {{"spectr", mix + ",directions=J", "per token and site, by the size of what each expert would add"}, make_spectr},
      {{"seqr", mix, "the same for experts that share a frozen A, from small matrices"}, make_seqr},
      {{"average-activation", mix + score, "per token and site, by likeness to the mean input of each expert's data"},
       make_average_activation},
      {{"phatgoose", mix + score, "per token and site, by gates trained for each expert alone"}, make_phatgoose},
  };
}

}  // namespace quiver::routing
