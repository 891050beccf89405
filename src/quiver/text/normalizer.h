// SPDX-License-Identifier: Apache-2.0
// What happens to text before it is split: Unicode normal forms, replacement, prefix, lower case, SentencePiece's
// character maps and spaces. Immutable; thread-safe. Not invertible: decoding gives the normalised text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quiver/text/character_map.h"
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
/// White space is taken from the ends.
struct StripStep {
  bool left = true, right = true;
};
struct CharacterMapStep {
  std::shared_ptr<const CharacterMap> map;
  MapMatching matching = MapMatching::graphemes;
  std::vector<std::string> kept{};  ///< see CharacterMap::apply
};
/// What SentencePiece does to spaces (U+0020), and only to them.
struct SpacesStep {
  bool remove_extra = true;  ///< at the ends, and all but one between words
  bool add_prefix = true;    ///< one before any text that is not empty
  bool escape = true;        ///< U+2581 for each
};

using NormalizerStep =
    std::variant<UnicodeForm, ReplaceStep, PrependStep, LowercaseStep, StripStep, CharacterMapStep, SpacesStep>;

/// Steps, in order; none for most byte-level tokenizers.
using Normalizer = std::vector<NormalizerStep>;

/// `text` must be valid UTF-8; so is the result. Throws Error{format} when the result would exceed 1 GiB.
std::string normalize(const Normalizer& normalizer, std::string_view text, MatchScratch& scratch);

/// Every match replaced by `content`.
std::string replace_all(const Regex& pattern, std::string_view text, const std::string& content, MatchScratch& scratch);

}  // namespace quiver::text
