// SPDX-License-Identifier: Apache-2.0
// Logits of given tokens under a route, for comparisons with other implementations.
#pragma once

#include "quiver/model/model.h"
#include "quiver/routing/router.h"

namespace quiver::serving {

/// Of every token of the request's prompt, or, with an encoder-decoder, of `answer`, the decoder's ids with the start
/// token: float32 [T, V]. What the route puts before the prompt is applied and has no row.
at::Tensor request_logits(const model::Model& model, const routing::Router& router, const routing::Request& request,
                          const std::vector<std::int32_t>* answer = nullptr);

}  // namespace quiver::serving
