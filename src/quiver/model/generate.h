// SPDX-License-Identifier: Apache-2.0
// Generation, batched continuously: each pass holds one token of every row that answers and portions of the prompts
// still to be read; a row that ends makes room for one that waits. A row's answer does not depend on the others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"
#include "quiver/model/sampling.h"

namespace quiver::model {

struct GenerateOptions {
  std::int64_t max_new_tokens = 128;
  SamplingOptions sampling;
  std::uint64_t seed = 0;  ///< row i draws from its own stream of this seed, so rows do not depend on their neighbours
  std::int64_t open_rows = 64;  ///< rows that answer at once; the others wait until one ends. Memory of their caches
  std::int64_t pass_tokens = 2048;  ///< tokens of a pass: longer prompts are read in portions, beside rows that answer
  std::vector<std::int32_t> stop_tokens;  ///< end-of-sequence ids; the one that ends a row is not part of the answer
};

/// Called with each new token; returning false ends that row (stop strings).
using OnToken = std::function<bool(std::size_t request, std::int32_t token)>;

/// The generated ids of each prompt, without the stop token.
std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options, const BindExperts& bind = nullptr,
                                                const OnToken& on_token = nullptr);

}  // namespace quiver::model
