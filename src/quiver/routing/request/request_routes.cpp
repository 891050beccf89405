// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/routing/learned/learned_routes.h"
#include "quiver/routing/request/prompt_router.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/request/text_router.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

std::unique_ptr<Router> make_auto(const PromptRouterOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  auto classifier = fit_prompt_classifier(read_signatures(inputs, spec.name));
  return std::make_unique<PromptRouter>(inputs.bank, *inputs.model, std::move(classifier), o);
}

/// Of a route by one score of each expert.
struct ScoreOptions {
  RequestMixOptions mix;
  ops::Combine combine = ops::Combine::outputs;
};
void describe(ScoreOptions& o, OptionSet& set) {
  describe(o.mix, set);
  describe_combine(set, o.combine);
}

std::unique_ptr<Router> make_by_cosine(const ScoreOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  return std::make_unique<CosineRouter>(inputs.bank, *inputs.model, read_signatures(inputs, spec.name), o.mix,
                                        o.combine);
}

std::unique_ptr<Router> make_text(const ScoreOptions& o, const RouteSpec& spec, const RouterInputs& inputs) {
  check_library(spec, inputs);
  QUIVER_CHECK(inputs.tokenizer, usage, spec.where(), "it reads text, and this verb has token ids alone");
  const auto saved = read_router(*inputs.library, "text");
  QUIVER_CHECK(saved.kind == "text", mismatch, spec.where(), "the library's router of that name is of kind '{}'",
               saved.kind);
  check_experts(saved, inputs);
  return std::make_unique<TextRouter>(inputs.bank, load_text_profile(saved.options, saved.where()), *inputs.tokenizer,
                                      o.mix, o.combine);
}

}  // namespace

std::vector<RouteEntry> request_routes() {
  return {
      route("auto", "", "once per prompt, by likeness to the experts' own prompts", PromptRouterOptions{}, make_auto)
          .with_version(2),
      route("ariadne", "", "the expert whose training prompts' mean is nearest by cosine",
            ScoreOptions{{.top_k = 1, .temperature = 0.05}}, make_by_cosine),
      route("lorauter", "", "the three nearest of them, weighted", ScoreOptions{{.top_k = 3, .temperature = 0.05}},
            make_by_cosine),
      route("text", "", "once per prompt, by its words (TF-IDF)", ScoreOptions{{.top_k = 1, .temperature = 0.1}},
            make_text)
          .with_router(router_of_its_name),
  };
}

}  // namespace quiver::routing
