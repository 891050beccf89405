// SPDX-License-Identifier: Apache-2.0
// Generation: several rows at once, each ending by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quiver/model/model.h"
#include "quiver/model/sampling.h"

namespace quiver::model {

struct GenerateOptions {
  std::int64_t max_new_tokens = 128;
  SamplingOptions sampling;
  std::uint64_t seed = 0;  ///< row i draws from its own stream of this seed, so rows do not depend on their neighbours
  std::vector<std::int32_t> stop_tokens;  ///< end-of-sequence ids; the one that ends a row is not part of the answer
};

/// Experts for a pass over `batch`, whose row i is request `requests[i]`. Null: the base model.
using BindExperts =
    std::function<std::unique_ptr<ExpertSource>(const PackedBatch& batch, const std::vector<std::size_t>& requests)>;
/// Called with each new token; returning false ends that row (stop strings).
using OnToken = std::function<bool(std::size_t request, std::int32_t token)>;

/// The generated ids of each prompt, without the stop token.
std::vector<std::vector<std::int32_t>> generate(const LanguageModel& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options, const BindExperts& bind = nullptr,
                                                const OnToken& on_token = nullptr);

}  // namespace quiver::model
