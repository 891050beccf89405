// SPDX-License-Identifier: Apache-2.0
// Answers to several prompts at once, to their ends.
#pragma once

#include <functional>

#include "quiver/serving/engine.h"

namespace quiver::serving {

/// Called with each new token; returning false ends that answer (stop strings).
using OnToken = std::function<bool(std::size_t request, std::int32_t token)>;

/// One answer per request, in their order; an error is its request's alone (Answer::checked throws it). All are under
/// `router` (null: the base model), which must live as long as the call, and request i draws from stream i of the seed.
std::vector<Answer> generate(const model::Model& model, const std::vector<routing::Request>& requests,
                             const GenerateOptions& options, const routing::Router* router = nullptr,
                             const OnToken& on_token = nullptr, const EngineOptions& engine = {});

}  // namespace quiver::serving
