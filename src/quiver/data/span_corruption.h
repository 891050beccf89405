// SPDX-License-Identifier: Apache-2.0
// Span corruption (T5, Raffel et al., 2020, section 3.1.4): what an encoder-decoder learns from plain text.
//
// About `density` of a text's tokens are taken out in spans of `mean_span` tokens on average; each span leaves a
// sentinel behind. The source is the text with its sentinels, the target each sentinel with what it stands for, and one
// more sentinel to end with; both close with the end of sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quiver/base/random.h"
#include "quiver/data/join.h"

namespace quiver::data {

struct SpanCorruption {
  double density = 0.15;   ///< share of tokens taken out, in (0, 1)
  double mean_span = 3.0;  ///< tokens, at least 1
  /// The first sentinel's id; the next is one below (<extra_id_0> is the last id of T5's vocabulary).
  std::int32_t first_sentinel = 0;
  std::int32_t sentinels = 100;  ///< texts that need more lose spans
  std::int32_t end_token = 1;
};

/// true at tokens to take out: spans in random order and of random lengths, a text part first. length >= 2.
std::vector<bool> random_spans(std::size_t length, const SpanCorruption& options, Random& random);

TokenRow corrupt(std::span<const std::int32_t> text, const SpanCorruption& options, Random& random);

/// Tokens of a text whose source comes to at most `source_tokens`, end of sequence counted. Throws Error{usage} on
/// fewer than 3, and where the texts would be more than a thousand times as long.
std::size_t corrupted_length(std::size_t source_tokens, const SpanCorruption& options);

}  // namespace quiver::data
