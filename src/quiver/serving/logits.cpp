// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/logits.h"

#include <c10/core/GradMode.h>

namespace quiver::serving {

at::Tensor request_logits(const model::Model& model, const routing::Router& router, const routing::Request& request,
                          const std::vector<std::int32_t>* answer) {
  const c10::AutoGradMode no_gradient(false);
  model::RowCache cache;
  const auto choose = routing::bind_requests(router, {request});
  const auto vectors = choose.soft_prompt(0);
  const auto prompt = model::pack({{request.prompt, answer ? &cache : nullptr, true, vectors}});
  auto experts = choose(prompt, {0});
  auto hidden = model.forward(prompt, experts.get());
  if (answer) {
    const auto batch = model::pack({{*answer, &cache, false}}, model::Part::answer);
    experts = choose(batch, {0});
    hidden = model.forward(batch, experts.get());
  } else if (vectors.defined()) {
    hidden = hidden.narrow(0, vectors.size(0), static_cast<std::int64_t>(request.prompt.size()));
  }
  return model.logits(hidden);
}

}  // namespace quiver::serving
