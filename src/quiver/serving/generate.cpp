// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/generate.h"

#include "quiver/base/error.h"

namespace quiver::serving {

std::vector<Answer> generate(const model::Model& model, const std::vector<routing::Request>& requests,
                             const GenerateOptions& options, const routing::Router* router, const OnToken& on_token,
                             const EngineOptions& engine_options) {
  Engine engine(model, engine_options);
  const std::shared_ptr<const routing::Router> route(std::shared_ptr<const void>(), router);
  std::map<Engine::Id, std::size_t> number;
  std::vector<Answer> out(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    try {
      number.emplace(engine.submit({requests[i].prompt, requests[i].task, route, options, i}), i);
    } catch (const Error&) {
      out[i] = {{}, Finish::error, {}, std::current_exception()};
    }
  }
  while (!engine.idle()) {
    for (const auto& event : engine.step()) {
      if (event.token && on_token && !on_token(number.at(event.id), *event.token)) engine.cancel(event.id);
    }
  }
  for (const auto& [id, i] : number) out[i] = engine.take(id);
  return out;
}

}  // namespace quiver::serving
