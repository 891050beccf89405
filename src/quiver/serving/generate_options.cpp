// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/generate_options.h"

#include "quiver/base/error.h"

namespace quiver::serving {

void describe(GenerateOptions& o, OptionSet& set) {
  constexpr double kMostBeams = 1024;
  set.group("Answers").integer("max_new_tokens", o.max_new_tokens, at_least(0), "longest answer, in tokens");
  model::describe(o.sampling, set);
  set.integer("seed", o.seed, at_least(0), "of sampling")
      .group("Beams")
      .integer("beams", o.beams, between(0, kMostBeams),
               "search by this many beams for the most probable answer; 0: take token by token")
      .number("length_penalty", o.length_penalty, any_number(),
              "beams are compared by summed log-probabilities over tokens to this power");
}

void check(const GenerateOptions& options) {
  auto o = options;
  OptionSet set;
  describe(o, set);
  check_ranges(set);
  model::check(o.sampling);
  QUIVER_CHECK(o.beams > 0 || o.length_penalty == 1, usage, "--length-penalty", "{}, which is read only with --beams",
               o.length_penalty);
  if (o.beams == 0) return;
  QUIVER_CHECK(o.sampling.temperature == 0, usage, "--temperature",
               "{}, which a search by beams does not read: it looks for the most probable answer",
               o.sampling.temperature);
  QUIVER_CHECK(o.sampling.top_k == 0, usage, "--top-k", "{}, which a search by beams does not read", o.sampling.top_k);
  QUIVER_CHECK(o.max_new_tokens >= 1, usage, "--max-new-tokens", "{}, expected 1 or more for a search by beams",
               o.max_new_tokens);
}

}  // namespace quiver::serving
