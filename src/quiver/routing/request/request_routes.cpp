// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/routing/learned/learned_routes.h"
#include "quiver/routing/request/prompt_router.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/request/text_router.h"

namespace quiver::routing {
namespace {

void check_library(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.library, usage, "--route " + spec.text, "it needs data kept in a library; give --library DIR");
  QUIVER_CHECK(inputs.bank->size() > 0, usage, "--route " + spec.text, "the library has no experts");
}

RequestMixOptions request_options(const RouteSpec& spec, std::int64_t top_k, double temperature) {
  RequestMixOptions out;
  out.top_k = count_of(spec, "top_k", top_k);
  out.temperature = spec.number("temperature", temperature);
  QUIVER_CHECK(out.temperature > 0, usage, "--route " + spec.text, "temperature={}, expected a positive number",
               out.temperature);
  out.floor = spec.number("floor", out.floor);
  return out;
}

std::unique_ptr<Router> make_auto(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"top_k", "others", "sharpness", "base_from", "temperature", "combine"});
  check_library(spec, inputs);
  PromptRouterOptions options;
  options.top_k = count_of(spec, "top_k", options.top_k);
  options.others = count_of(spec, "others", options.others);
  options.sharpness = spec.number("sharpness", options.sharpness);
  QUIVER_CHECK(options.sharpness > 0, usage, "--route " + spec.text, "sharpness={}, expected a positive number",
               options.sharpness);
  options.base_from = spec.number("base_from", options.base_from);
  options.temperature = spec.number("temperature", options.temperature);
  options.combine = combine_of(spec);
  auto classifier = fit_prompt_classifier(read_signatures(*inputs.library, *inputs.bank, spec.name));
  return std::make_unique<PromptRouter>(inputs.bank, *inputs.model, std::move(classifier), options);
}

std::unique_ptr<Router> by_cosine(const RouteSpec& spec, const RouterInputs& inputs, std::int64_t top_k) {
  spec.check_options({"top_k", "temperature", "floor", "combine"});
  check_library(spec, inputs);
  return std::make_unique<CosineRouter>(inputs.bank, *inputs.model,
                                        read_signatures(*inputs.library, *inputs.bank, spec.name),
                                        request_options(spec, top_k, 0.05), combine_of(spec));
}

std::unique_ptr<Router> make_ariadne(const RouteSpec& spec, const RouterInputs& inputs) {
  return by_cosine(spec, inputs, 1);
}
std::unique_ptr<Router> make_lorauter(const RouteSpec& spec, const RouterInputs& inputs) {
  return by_cosine(spec, inputs, 3);
}

std::unique_ptr<Router> make_text(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"top_k", "temperature", "floor", "combine"});
  check_library(spec, inputs);
  QUIVER_CHECK(inputs.tokenizer, usage, "--route " + spec.text, "it reads text, and this verb has token ids alone");
  const auto saved = read_router(*inputs.library, "text");
  QUIVER_CHECK(saved.kind == "text" && saved.experts == inputs.bank->names(), mismatch, "--route " + spec.text,
               "it was prepared for other experts; run quiver prepare again");
  return std::make_unique<TextRouter>(inputs.bank, load_text_profile(saved.options, "router text"), *inputs.tokenizer,
                                      request_options(spec, 1, 0.1), combine_of(spec));
}

std::unique_ptr<Router> make_moa(const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  QUIVER_CHECK(has_router(*inputs.library, spec.name), usage, "--route " + spec.text,
               "it was not fitted yet; run: quiver prepare --library {} --route moa --task FOLDER",
               inputs.library->folder().string());
  return make_saved(spec.name, spec, inputs);
}

std::unique_ptr<Router> make_pemt(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty() && inputs.library, usage, "--route " + spec.text,
               "expected pemt:NAME, a target that 'train --method pemt' left in the library");
  return make_saved(spec.argument, spec, inputs);
}

std::unique_ptr<Router> make_attempt(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty() && inputs.library, usage, "--route " + spec.text,
               "expected attempt:NAME, a target that 'train --method attempt' left in the library");
  return make_saved(spec.argument, spec, inputs);
}

std::unique_ptr<Router> make_fusion(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty() && inputs.library, usage, "--route " + spec.text,
               "expected fusion:NAME, what 'train --method fusion' left in the library");
  return make_saved(spec.argument, spec, inputs);
}

std::unique_ptr<Router> make_learned(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(!spec.argument.empty(), usage, "--route " + spec.text, "expected learned:NAME");
  return make_saved(spec.argument, spec, inputs);
}

}  // namespace

std::vector<RouteEntry> request_routes() {
  const std::string mix = ":top_k=N|all,temperature=T,floor=F";
  return {
      {{"auto", ":top_k=N,others=N,sharpness=K,base_from=D,temperature=T",
        "once per prompt, by likeness to the experts' own prompts"},
       make_auto},
      {{"ariadne", mix, "the expert whose training prompts' mean is nearest by cosine"}, make_ariadne},
      {{"lorauter", mix, "the three nearest of them, weighted"}, make_lorauter},
      {{"text", mix, "once per prompt, by its words (TF-IDF)"}, make_text},
      {{"moa", ":vote=own|first|majority|sum,abstain=P",
        "once per prompt, by a classifier of domains before each layer"},
       make_moa},
      {{"pemt", ":NAME", "a target task over source experts, gated by the prompt"}, make_pemt},
      {{"attempt", ":NAME", "a prompt that each text's words mix from those of source tasks"}, make_attempt},
      {{"fusion", ":NAME", "at each site, experts by a trained attention of the token's state"}, make_fusion},
      {{"learned", ":NAME", "a router that 'prepare' trained; its bare name does too"}, make_learned},
  };
}

}  // namespace quiver::routing
