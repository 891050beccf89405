// SPDX-License-Identifier: Apache-2.0
// Splitting text into the words that the vocabulary's merges never cross. Immutable; thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quiver/text/regex.h"
#include "quiver/text/unicode.h"

namespace quiver::text {

/// What becomes of the parts that a pattern matches ("delimiters") and of those between.
enum class SplitBehavior {
  isolated,              ///< each match is a word
  removed,               ///< matches are dropped
  merged_with_previous,  ///< a match ends the word before it
  merged_with_next,      ///< a match begins the word after it
  contiguous,            ///< neighbouring matches are one word
};

struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< what does not match is the delimiter
};
/// Runs of numeric characters apart from everything else, or each of them alone.
struct DigitsStep {
  bool individual = false;
};
/// A space before every part that does not begin with one.
struct PrefixSpaceStep {};
/// Words are what stands between white space.
struct WhitespaceSplitStep {};
/// Spaces become `replacement`, which begins a word.
struct MetaspaceStep {
  enum class Prepend { always, first, never };
  std::string replacement{kMetaspace};
  Prepend prepend = Prepend::always;  ///< a replacement before each part, before the text's first one, or nowhere
  bool split = true;
};

using PreTokenizerStep = std::variant<SplitStep, DigitsStep, PrefixSpaceStep, WhitespaceSplitStep, MetaspaceStep>;

/// Steps; each splits every part that the one before it made.
using PreTokenizer = std::vector<PreTokenizerStep>;

/// A part of the text, and whether it is where the text begins.
struct Part {
  std::string_view text;
  bool first = false;
};

/// Calls `sink` with each word of `part` (valid UTF-8), in order; the views die with the call.
void split_words(const PreTokenizer& pre_tokenizer, Part part, MatchScratch& scratch,
                 const std::function<void(std::string_view)>& sink);

}  // namespace quiver::text
