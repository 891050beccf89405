// SPDX-License-Identifier: Apache-2.0
// Routers that were trained, read from the library by name.
#include "quiver/routing/learned/learned_routes.h"

#include "quiver/base/error.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/routing/learned/fusion.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/routing/token/token_router.h"
#include "quiver/routing/learned/weight_router.h"
#include "quiver/routing/learned/xlora_router.h"

namespace quiver::routing {
namespace {

using nlohmann::json;

template <typename T>
T option(const SavedRouter& saved, const char* key, T fallback) {
  const auto found = saved.options.find(key);
  if (found == saved.options.end()) return fallback;
  try {
    return found->get<T>();
  } catch (const json::exception&) {
    fail(ErrorCode::format, "router " + saved.name, "option '{}' is {}", key, found->dump().substr(0, 80));
  }
}

at::Tensor tensor(const SavedRouter& saved, const std::string& key) {
  const auto found = saved.tensors.find(key);
  QUIVER_CHECK(found != saved.tensors.end(), format, "router " + saved.name, "tensor '{}' is missing", key);
  return found->second.to(at::kFloat);
}

/// The route's options, whether it names the router itself or after `learned:`.
void check_route(RouteSpec spec, const std::vector<std::string>& known) {
  spec.argument.clear();
  spec.check_options(known);
}

std::unique_ptr<Router> gates_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  const auto& sites = inputs.bank->model_sites();
  const auto experts = inputs.bank->size();
  SiteTable table(sites, experts);
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto rows = tensor(saved, sites[s].name);
    QUIVER_CHECK((rows.sizes() == at::IntArrayRef{experts, sites[s].in}), mismatch, "router " + saved.name,
                 "'{}' has another shape than [{}, {}]", sites[s].name, experts, sites[s].in);
    table.site(static_cast<std::int64_t>(s)).copy_(rows);
  }
  DirectionScoreOptions score;
  score.signed_score = true;
  score.input_norm = static_cast<Norm>(option(saved, "input_norm", 0));
  check_route(spec, {"top_k", "temperature", "combine"});
  TokenMixOptions mix;
  mix.top_k = count_of(spec, "top_k", option(saved, "top_k", std::int64_t{0}));
  mix.temperature =
      spec.find("temperature") == "sqrt" ? 0.0 : spec.number("temperature", option(saved, "temperature", 1.0));
  mix.share_of_all = option(saved, "share_of_all", false);
  mix.combine = combine_of(spec, option(saved, "combine", std::string("outputs")));
  auto scores = std::make_shared<DirectionScores>(std::move(table), experts, score);
  return std::make_unique<TokenRouter>(inputs.bank, std::move(scores), mix);
}

std::unique_ptr<Router> weights_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  check_route(spec, {"combine"});
  PlaceWeights weights;
  const int granularity = option(saved, "granularity", 1);
  QUIVER_CHECK(granularity >= 0 && granularity <= 2, format, "router " + saved.name, "granularity {}", granularity);
  weights.granularity = static_cast<Granularity>(granularity);
  weights.softmax = option(saved, "softmax", false);
  weights.values = tensor(saved, "weights");
  return std::make_unique<WeightRouter>(inputs.bank, std::move(weights),
                                        combine_of(spec, option(saved, "combine", std::string("outputs"))));
}

std::unique_ptr<Router> xlora_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.model, usage, "--route " + spec.text, "it runs the base model first, and none is given");
  check_route(spec, {"top_k", "temperature"});
  XLoraNetwork network;
  const auto depth = option(saved, "depth", 1);
  for (int i = 0; i < depth; ++i) {
    network.weights.push_back(tensor(saved, fmt::format("layers.{}.weight", i)));
    network.biases.push_back(tensor(saved, fmt::format("layers.{}.bias", i)));
  }
  network.per_site = option(saved, "per_site", true);
  network.softmax = option(saved, "softmax", true);
  network.temperature = spec.number("temperature", option(saved, "temperature", 1.0));
  network.top_k = count_of(spec, "top_k", option(saved, "top_k", std::int64_t{0}));
  network.scaling = option(saved, "scaling", 1.0);
  return std::make_unique<XLoraRouter>(inputs.bank, *inputs.model, std::move(network));
}

std::unique_ptr<Router> moa_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.model, usage, "--route " + spec.text, "it reads the prompt first, and no model is given");
  check_route(spec, {"vote", "abstain", "combine"});
  MoaShape shape;
  auto classifiers = read_moa(saved, shape);
  MoaOptions options;
  options.vote = static_cast<Vote>(choice_of(spec, "vote", {"own", "first", "majority", "sum"}, "sum"));
  options.abstain = spec.number("abstain", 0.0);
  QUIVER_CHECK(options.abstain >= 0 && options.abstain <= 1, usage, "--route " + spec.text,
               "abstain={}, expected a probability", options.abstain);
  options.combine = combine_of(spec);
  return std::make_unique<MoaRouter>(inputs.bank, *inputs.model, shape, std::move(classifiers), options);
}

std::unique_ptr<Router> fusion_router(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.model, usage, "--route " + spec.text, "it needs the base model, and none is given");
  check_route(spec, {});
  return std::make_unique<FusionRouter>(inputs.bank, read_fusion(saved, *inputs.model));
}

}  // namespace

std::unique_ptr<Router> router_of(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  if (saved.kind == "pemt" || saved.kind == "attempt") {  // they have their sources with them
    QUIVER_CHECK(inputs.model, usage, "--route " + spec.text, "it needs the base model, and none is given");
    check_route(spec, {});
    if (saved.kind == "pemt") return std::make_unique<PemtRouter>(*inputs.model, read_pemt(saved, *inputs.model));
    return std::make_unique<AttemptRouter>(*inputs.model, read_attempt(saved, *inputs.model));
  }
  QUIVER_CHECK(saved.experts == inputs.bank->names(), mismatch, "router " + saved.name,
               "it was trained over {} experts, the route has {}; choose them with --experts", saved.experts.size(),
               inputs.bank->size());
  if (saved.kind == "gates") return gates_router(saved, spec, inputs);
  if (saved.kind == "weights") return weights_router(saved, spec, inputs);
  if (saved.kind == "xlora") return xlora_router(saved, spec, inputs);
  if (saved.kind == "moa") return moa_router(saved, spec, inputs);
  if (saved.kind == "fusion") return fusion_router(saved, spec, inputs);
  fail(ErrorCode::unsupported, "router " + saved.name,
       "kind '{}', this program applies gates, weights, xlora, moa, fusion, attempt and pemt", saved.kind);
}

std::unique_ptr<Router> make_saved(const std::string& name, const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.library, usage, "--route " + spec.text,
               "trained routers are kept in a library; give --library DIR");
  const auto saved = read_router(*inputs.library, name);
  if (saved.kind != "poly") return router_of(saved, spec, inputs);
  auto poly = spec;
  poly.name = "poly";
  poly.argument = name;
  return skill_routes().front().make(poly, inputs);
}

}  // namespace quiver::routing
