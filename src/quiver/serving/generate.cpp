// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/generate.h"

namespace quiver::serving {

std::vector<Answer> generate(const model::LanguageModel& model, const std::vector<routing::Request>& requests,
                             const GenerateOptions& options, const routing::Router* router, const OnToken& on_token,
                             const EngineOptions& engine_options) {
  Engine engine(model, engine_options);
  const std::shared_ptr<const routing::Router> route(std::shared_ptr<const void>(), router);
  std::map<Engine::Id, std::size_t> number;
  for (std::size_t i = 0; i < requests.size(); ++i)
    number.emplace(engine.submit({requests[i].prompt, requests[i].task, route, options, i}), i);
  while (!engine.idle()) {
    for (const auto& event : engine.step()) {
      if (event.token && on_token && !on_token(number.at(event.id), *event.token)) engine.cancel(event.id);
    }
  }
  std::vector<Answer> out(requests.size());
  for (const auto& [id, i] : number) out[i] = engine.take(id);
  return out;
}

}  // namespace quiver::serving
