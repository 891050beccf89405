// SPDX-License-Identifier: Apache-2.0
// Choosing the next token from its logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/base/random.h"

namespace quiver::model {

/// The steps apply in the order of the fields, as in transformers: penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double repetition_penalty = 1.0;  ///< > 0; above 1, tokens of the context are less likely (Keskar et al., 2019)
  double temperature = 0.0;         ///< 0: greedy, the options below do not apply
  std::int64_t top_k = 0;           ///< keep the k most likely; 0: all
  double top_p = 1.0;               ///< keep the fewest whose probabilities sum to at least this, (0, 1]
  double min_p = 0.0;               ///< drop those below this share of the largest probability, [0, 1]
};

void describe(SamplingOptions& options, OptionSet& set);
/// Throws Error{usage} naming the option that is out of range, or that greedy choice does not read.
void check(const SamplingOptions& options);

/// logits: one token's, changed in place. context: tokens so far, for the penalty. Ties go to the lower id.
/// Throws Error{mismatch} where the largest logit is not finite.
std::int32_t sample(std::span<float> logits, std::span<const std::int32_t> context, const SamplingOptions& options,
                    Random& random);

}  // namespace quiver::model
