// SPDX-License-Identifier: Apache-2.0
// Beam search: the answers of highest probability that a limited breadth finds, as transformers searches with
// early_stopping = False.
#pragma once

#include "quiver/model/generate.h"

namespace quiver::model {

struct BeamOptions {
  std::int64_t beams = 4;  ///< kept at each step, 1 or more; memory of as many caches
  std::int64_t max_new_tokens = 128;
  double length_penalty = 1.0;  ///< an answer's score is its summed log-probabilities by tokens^length_penalty
  std::vector<std::int32_t> stop_tokens;
};

struct Beam {
  std::vector<std::int32_t> ids;  ///< without the stop token
  double score = 0.0;             ///< the stop token counted
};

/// The finished beams of a prompt, best first, at most options.beams. A step looks at the (1 + stop tokens) * beams
/// best continuations, of which those among the first `beams` may finish; the search ends when no running beam can
/// still beat the worst of `beams` finished ones. `bind` gets request 0.
std::vector<Beam> beam_search(const Model& model, const std::vector<std::int32_t>& prompt, const BeamOptions& options,
                              const BindExperts& bind = nullptr);

}  // namespace quiver::model
