// SPDX-License-Identifier: Apache-2.0
// How one request is answered.
#pragma once

#include <cstdint>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/model/sampling.h"

namespace quiver::serving {

struct GenerateOptions {
  std::int64_t max_new_tokens = 128;  ///< longest answer; 0: none. The model's context may end it before
  model::SamplingOptions sampling = {};
  std::uint64_t seed = 0;  ///< of sampling
  /// Above 0: a search by this many beams for the most probable answer (beam_search.h), with as many caches. Of the
  /// sampling options it reads the repetition penalty alone.
  std::int64_t beams = 0;
  double length_penalty = 1.0;  ///< a beam's score is its summed log-probabilities by tokens^length_penalty
  std::vector<std::int32_t> stop_tokens = {};  ///< end-of-sequence ids; the one that ends an answer is not part of it
};

/// All but the stop tokens.
void describe(GenerateOptions& options, OptionSet& set);

/// Throws Error{usage} naming the option that is out of range, or that the chosen way of answering does not read.
void check(const GenerateOptions& options);

}  // namespace quiver::serving
