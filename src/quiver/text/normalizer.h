// SPDX-License-Identifier: Apache-2.0
// What happens to text before it is split: Unicode normal forms, replacement, prefix, lower case. Immutable;
// thread-safe. Not invertible: decoding gives the normalised text.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quiver/text/regex.h"

namespace quiver::text {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

struct ReplaceStep {
  Regex pattern;
  std::string content;
};
struct PrependStep {
  std::string prefix;  ///< put before any text that is not empty
};
struct LowercaseStep {};

using NormalizerStep = std::variant<UnicodeForm, ReplaceStep, PrependStep, LowercaseStep>;

/// Steps, in order; none for most byte-level tokenizers.
using Normalizer = std::vector<NormalizerStep>;

/// `text` must be valid UTF-8; so is the result. Throws Error{format} when the result would exceed 1 GiB.
std::string normalize(const Normalizer& normalizer, std::string_view text, MatchScratch& scratch);

/// Every match replaced by `content`.
std::string replace_all(const Regex& pattern, std::string_view text, const std::string& content, MatchScratch& scratch);

}  // namespace quiver::text
