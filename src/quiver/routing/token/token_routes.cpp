// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/expert_rows.h"
#include "quiver/routing/token/general_knowledge.h"
#include "quiver/routing/token/grouped_scores.h"
#include "quiver/routing/token/token_router.h"

namespace quiver::routing {
namespace {

using Length = DirectionOptions::Length;

/// Of a route by directions that the experts' own data gave.
struct PreparedOptions {
  DirectionScoreOptions score;
  TokenMixOptions mix;
};
void describe(PreparedOptions& o, OptionSet& set) {
  describe(o.mix, set);
  describe(o.score, set);
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

/// For routes whose scores come from the experts' factors, not from data of theirs.
TokenMixOptions by_factors(TokenMixOptions mix) {
  mix.by_factors = true;
  return mix;
}

std::unique_ptr<Router> routed_by(std::shared_ptr<const adapter::Bank> bank, SiteTable table,
                                  const PreparedOptions& options) {
  const auto experts = bank->size();
  auto scores = std::make_shared<DirectionScores>(std::move(table), experts, options.score);
  return std::make_unique<TokenRouter>(std::move(bank), std::move(scores), options.mix);
}

struct ArrowOptions {
  PreparedOptions how;
  DirectionOptions directions;
  std::string general;
  GeneralKnowledge subtract;
  bool by_groups = false;
  GroupOptions groups;
};
void describe(ArrowOptions& o, OptionSet& set) {
  describe(o.how, set);
  describe_count(set, "directions", o.directions.count, "singular directions of an expert");
  set.choice("scale", o.directions.length, {{"false", Length::unit}, {"true", Length::sigma_squared}},
             "directions times their squared singular values")
      .choice("tie", o.directions.tie_qkv, {{"none", false}, {"qkv", true}}, "q, k and v of a layer share theirs")
      .text("general", o.general, "the expert of what all know, which is taken from the others (GenKnowSub)");
  describe(o.subtract, set);
  set.choice("search", o.by_groups, {{"exact", false}, {"groups", true}},
             "score all experts, or those of the groups that score best");
  describe(o.groups, set);
}

/// Options that mean something beside another one alone.
void check_arrow(const ArrowOptions& o, const OptionSet& set, const RouteSpec& spec) {
  for (const auto* option : {"general_weight", "convention"}) {
    QUIVER_CHECK(!set.given(option) || !o.general.empty(), usage, spec.where(),
                 "{} goes with general=EXPERT, which is not given", option);
  }
  for (const auto* option : {"groups", "probes"}) {
    QUIVER_CHECK(!set.given(option) || o.by_groups, usage, spec.where(), "{} goes with search=groups", option);
  }
  QUIVER_CHECK(!o.by_groups || o.directions.count == 1, usage, spec.where(), "search=groups goes with directions=1");
  for (const auto* option : {"score", "input_norm", "prototype_norm", "centred"}) {
    QUIVER_CHECK(!set.given(option) || !o.by_groups, usage, spec.where(), "search=groups takes no {}", option);
  }
  QUIVER_CHECK(!o.how.score.signed_score || o.directions.count == 1, usage, spec.where(),
               "score=signed needs directions=1: a direction's sign says something only where there is one");
}

std::unique_ptr<Router> make_arrow(const ArrowOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_any(spec, inputs);
  say_who_is_never_chosen(spec, inputs);
  auto bank = inputs.bank;
  if (!o.general.empty()) bank = without_general_knowledge(*bank, bank->number(o.general), o.subtract);
  const bool plain = o.directions.count == 1 && !o.directions.tie_qkv && o.directions.length == Length::unit;
  auto table = inputs.library && plain && bank == inputs.bank
                   ? library_prototypes(inputs)
                   : compute_directions(*bank, o.directions, *inputs.progress);
  if (!o.by_groups) return routed_by(bank, std::move(table), {o.how.score, by_factors(o.how.mix)});
  auto scores = std::make_shared<GroupedScores>(table, bank->size(), bank->model_sites(), o.groups);
  return std::make_unique<TokenRouter>(std::move(bank), std::move(scores), by_factors(o.how.mix));
}

struct SpectrOptions {
  TokenMixOptions mix;
  DirectionScoreOptions score;
  DirectionOptions directions{.count = 0, .length = Length::gain};
};
void describe(SpectrOptions& o, OptionSet& set) {
  describe(o.mix, set);
  describe_input_norm(set, o.score.input_norm);
  describe_count(set, "directions", o.directions.count, "singular directions of an expert, the largest first");
}

std::unique_ptr<Router> make_spectr(const SpectrOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_any(spec, inputs);
  say_who_is_never_chosen(spec, inputs);
  return routed_by(inputs.bank, compute_directions(*inputs.bank, o.directions, *inputs.progress),
                   {o.score, by_factors(o.mix)});
}

std::unique_ptr<Router> make_seqr(const TokenMixOptions& mix, const RouteSpec& spec, const RouterInputs& inputs) {
  check_any(spec, inputs);
  return std::make_unique<TokenRouter>(inputs.bank, std::make_shared<SharedInputScores>(*inputs.bank), by_factors(mix));
}

template <const DerivedKind* kKind>
std::unique_ptr<Router> make_prepared(const PreparedOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  return routed_by(inputs.bank, read_expert_rows(inputs, *kKind), o);
}

constexpr PreparedOptions kByMeans{
    .score = {.direction_norm = Norm::unit, .signed_score = true},
    .mix = {.top_k = 0, .temperature = 0.0, .combine = ops::Combine::factors},
};
constexpr PreparedOptions kByGates{
    .score = {.input_norm = Norm::layer, .direction_norm = Norm::layer, .signed_score = true},
    .mix = {.top_k = 2, .temperature = 0.0},
};

}  // namespace

std::vector<RouteEntry> token_routes() {
  return {
      route("arrow", "", "per token and site, by alignment with the experts' first singular directions", ArrowOptions{},
            make_arrow, check_arrow),
      route("spectr", "", "per token and site, by the size of what each expert would add", SpectrOptions{},
            make_spectr),
      route("seqr", "", "the same for experts that share a frozen A, from small matrices", TokenMixOptions{.top_k = 1},
            make_seqr),
      route("average-activation", "", "per token and site, by likeness to the mean input of each expert's data",
            kByMeans, make_prepared<&kAverageActivations>),
      route("phatgoose", "", "per token and site, by gates trained for each expert alone", kByGates,
            make_prepared<&kPhatgooseGates>),
  };
}

}  // namespace quiver::routing
