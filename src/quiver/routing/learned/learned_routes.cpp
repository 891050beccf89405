// SPDX-License-Identifier: Apache-2.0
// Routers that were trained, read from the library by name.
#include "quiver/routing/learned/learned_routes.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/learned/fusion.h"
#include "quiver/routing/learned/skills.h"
#include "quiver/routing/learned/weight_router.h"
#include "quiver/routing/learned/xlora_router.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/token/token_router.h"

namespace quiver::routing {
namespace {

/// The options that a router was saved with, from `defaults`, and above them those of the route: `routed` describes
/// what a route may say of them.
template <typename Options>
Options options_of(const SavedRouter& saved, const RouteSpec& spec, Options options,
                   void (*routed)(Options&, OptionSet&)) {
  OptionSet kept, said;
  describe(options, kept);
  saved.read_options(kept);
  routed(options, said);
  spec.read(said);
  return options;
}

void need_model(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.model, usage, spec.where(), "it needs the base model, and none is given");
}

/// What a route may say of a trained router.
template <typename Options>
void describe_route(Options& options, OptionSet& set);

struct GatesOptions {
  Norm input_norm = Norm::none;
  TokenMixOptions mix{.top_k = 0};
};
void describe(GatesOptions& o, OptionSet& set) {
  describe_input_norm(set, o.input_norm);
  describe_gate_mix(o.mix, set);
  describe_share_of_all(o.mix, set);
}
template <>
void describe_route(GatesOptions& o, OptionSet& set) {
  describe_gate_mix(o.mix, set);
}

std::unique_ptr<Router> gates_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  const auto options = options_of(saved, spec, GatesOptions{}, describe_route<GatesOptions>);
  const auto& sites = inputs.bank->model_sites();
  const auto experts = inputs.bank->size();
  SiteTable table(sites, experts);
  for (std::size_t s = 0; s < sites.size(); ++s)
    table.site(static_cast<std::int64_t>(s)).copy_(saved.tensor(sites[s].name, {experts, sites[s].in}));
  const DirectionScoreOptions score{.input_norm = options.input_norm, .signed_score = true};
  auto scores = std::make_shared<DirectionScores>(std::move(table), experts, score);
  return std::make_unique<TokenRouter>(inputs.bank, std::move(scores), options.mix);
}

struct WeightsOptions {
  PlaceWeights places;
  ops::Combine combine = ops::Combine::outputs;
};
void describe(WeightsOptions& o, OptionSet& set) {
  describe(o.places, set);
  describe_combine(set, o.combine);
}
template <>
void describe_route(WeightsOptions& o, OptionSet& set) {
  describe_combine(set, o.combine);
}

std::unique_ptr<Router> weights_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  auto options = options_of(saved, spec, WeightsOptions{}, describe_route<WeightsOptions>);
  options.places.values =
      saved.tensor("weights", {places(inputs.bank->model_sites(), options.places.granularity), inputs.bank->size()});
  return std::make_unique<WeightRouter>(inputs.bank, std::move(options.places), options.combine);
}

struct XLoraOptions {
  XLoraNetwork network;
  int depth = 1;
};
void describe(XLoraOptions& o, OptionSet& set) {
  describe(o.network, set);
  describe_shape(o.depth, o.network.per_site, set);
  set.flag("softmax", o.network.softmax, "over the experts")
      .number("scaling", o.network.scaling, any_number(), "of all weights");
}
template <>
void describe_route(XLoraOptions& o, OptionSet& set) {
  describe(o.network, set);
}

std::unique_ptr<Router> xlora_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  need_model(spec, inputs);
  auto [network, depth] = options_of(saved, spec, XLoraOptions{}, describe_route<XLoraOptions>);
  std::int64_t width = inputs.model->config().hidden;
  for (int i = 0; i < depth; ++i) {
    network.weights.push_back(saved.tensor(fmt::format("layers.{}.weight", i), {-1, width}));
    width = network.weights.back().size(0);
    network.biases.push_back(saved.tensor(fmt::format("layers.{}.bias", i), {width}));
  }
  return std::make_unique<XLoraRouter>(inputs.bank, *inputs.model, std::move(network));
}

std::unique_ptr<Router> moa_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  need_model(spec, inputs);
  const auto options = read_options(spec, MoaOptions{});
  MoaShape shape;
  auto classifiers = read_moa(saved, shape);
  return std::make_unique<MoaRouter>(inputs.bank, *inputs.model, shape, std::move(classifiers), options);
}

std::unique_ptr<Router> fusion_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  need_model(spec, inputs);
  read_options(spec, NoOptions{});
  return std::make_unique<FusionRouter>(inputs.bank, read_fusion(saved, *inputs.model));
}

std::unique_ptr<Router> attempt_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  need_model(spec, inputs);
  read_options(spec, NoOptions{});
  return std::make_unique<AttemptRouter>(*inputs.model, read_attempt(saved, *inputs.model));
}

std::unique_ptr<Router> pemt_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  need_model(spec, inputs);
  read_options(spec, NoOptions{});
  return std::make_unique<PemtRouter>(*inputs.model, read_pemt(saved, *inputs.model));
}

struct SavedKind {
  const char* name;
  bool over_experts;  ///< of the bank; else it has all it needs with it
  std::unique_ptr<Router> (*make)(const SavedRouter&, const RouteSpec&, const RouterInputs&);
};
constexpr SavedKind kKinds[] = {
    {"gates", true, gates_router}, {"weights", true, weights_router}, {"xlora", true, xlora_router},
    {"moa", true, moa_router},     {"fusion", true, fusion_router},   {"attempt", false, attempt_router},
    {"pemt", false, pemt_router},  {"poly", false, router_of_skills},
};

/// Routes that are the library's router of their own name.
template <typename Options>
std::unique_ptr<Router> make_by_name(const Options&, const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  QUIVER_CHECK(has_router(*inputs.library, spec.name), usage, spec.where(),
               "it was not fitted yet; run: quiver prepare --library {} --route {} --task FOLDER",
               inputs.library->folder().string(), spec.name);
  return make_saved(spec.name, spec, inputs);
}

/// A router that `prepare` trains under the route's name. `routed` describes what the route may say of it.
template <typename Options>
RouteEntry trained(const char* name, const char* summary, void (*routed)(Options&, OptionSet&)) {
  RouteEntry entry{name, "", summary, nullptr, nullptr, nullptr};
  entry.describe = [routed](const auto& show) {
    Options options;
    OptionSet set;
    routed(options, set);
    show(set);
  };
  entry.check = [routed](const RouteSpec& spec) {
    check_argument(spec, "");
    Options options;
    OptionSet set;
    routed(options, set);
    spec.read(set);
  };
  entry.make = [](const RouteSpec& spec, const RouterInputs& inputs) {
    return make_by_name(NoOptions{}, spec, inputs);
  };
  entry.router = router_of_its_name;
  return entry;
}

/// Routes that name the library's router.
std::unique_ptr<Router> make_named(const NoOptions&, const RouteSpec& spec, const RouterInputs& inputs) {
  return make_saved(spec.argument, spec, inputs);
}

/// Whatever the kind of the router reads.
RouteEntry learned_route() {
  RouteEntry entry{
      kAnyRouter, "NAME,key=value,...", "a router that 'prepare' trained; its bare name does too", nullptr, nullptr,
      nullptr};
  entry.describe = [](const auto& show) { show(OptionSet()); };
  entry.check = [](const RouteSpec& spec) { check_argument(spec, "NAME"); };
  entry.make = [](const RouteSpec& spec, const RouterInputs& inputs) {
    check_argument(spec, "NAME");
    return make_saved(spec.argument, spec, inputs);
  };
  entry.router = named_router;
  return entry;
}

}  // namespace

void check_experts(const SavedRouter& saved, const RouterInputs& inputs) {
  const auto& names = inputs.bank->names();
  QUIVER_CHECK(saved.experts == names, mismatch, saved.where(),
               "it was trained over {} experts, the route has {}; choose them with --experts", saved.experts.size(),
               names.size());
  if (saved.identities.empty() || inputs.identities.empty()) return;  // trained just now, or not of a library
  for (std::size_t e = 0; e < names.size(); ++e) {
    QUIVER_CHECK(saved.identities.at(e) == inputs.identities.at(e), mismatch, saved.where(),
                 "it was trained over expert '{}', which has changed; train it again", names[e]);
  }
}

std::unique_ptr<Router> router_of(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  std::vector<std::string> kinds;
  for (const auto& kind : kKinds) {
    kinds.emplace_back(kind.name);
    if (saved.kind != kind.name) continue;
    if (kind.over_experts) check_experts(saved, inputs);
    return kind.make(saved, spec, inputs);
  }
  fail(ErrorCode::unsupported, saved.where(), "kind '{}', this program applies {}", saved.kind, join(kinds, ", "));
}

std::unique_ptr<Router> make_saved(const std::string& name, const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.library, usage, spec.where(), "trained routers are kept in a library; give --library DIR");
  return router_of(read_router(*inputs.library, name), spec, inputs);
}

std::vector<RouteEntry> learned_routes() {
  return {
      route("moa", "", "once per prompt, by a classifier of domains before each layer", MoaOptions{},
            make_by_name<MoaOptions>)
          .with_version(kMoaVersion)
          .with_router(router_of_its_name),
      route("pemt", "NAME", "a target task over source experts, gated by the prompt", NoOptions{}, make_named)
          .with_router(named_router),
      route("attempt", "NAME", "a prompt that each text's words mix from those of source tasks", NoOptions{},
            make_named)
          .with_router(named_router),
      route("fusion", "NAME", "at each site, experts by a trained attention of the token's state", NoOptions{},
            make_named)
          .with_router(named_router),
      trained("gates", "per token and site, by trained gates", describe_route<GatesOptions>),
      trained("molora", "gates of two experts a token", describe_route<GatesOptions>),
      trained("rkhs", "gates that meet the token's state in a space of their own", describe_route<GatesOptions>),
      trained("product-keys", "gates of two halves, for a square number of experts", describe_route<GatesOptions>),
      trained("weights", "trained weights of the experts, by layer, site or for all", describe_route<WeightsOptions>),
      trained("soup", "the same, as shares that add up to 1", describe_route<WeightsOptions>),
      trained("xlora", "per token and site, by a network on the base model's final states",
              describe_route<XLoraOptions>),
      learned_route(),
  };
}

}  // namespace quiver::routing
