// SPDX-License-Identifier: Apache-2.0
// Log-likelihoods of several continuations of each of several prompts, with the prompts computed once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"

namespace quiver::evaluation {

struct PromptCandidates {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> candidates;  ///< none empty
};

/// Adds a candidate to the last prompt where that is `prompt`, else to a new one.
void add_candidate(std::span<const std::int32_t> prompt, std::span<const std::int32_t> candidate,
                   std::vector<PromptCandidates>& to);

/// Log-likelihood of each candidate, summed over its tokens: [prompt][candidate]. `bind` gets prompt numbers as
/// requests.
std::vector<std::vector<double>> score_candidates(const model::Model& model,
                                                  const std::vector<PromptCandidates>& prompts,
                                                  const model::BindExperts& bind);

}  // namespace quiver::evaluation
