// SPDX-License-Identifier: Apache-2.0
// Tokens that are found in the text as they stand, before anything else splits it. Immutable; thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quiver/text/pre_tokenizer.h"

namespace quiver::text {

struct AddedToken {
  std::int32_t id = 0;
  std::string content{};
  bool special = false;      ///< control token: may be hidden in decoded text, and ignored in encoded text
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool single_word = false;  ///< only where no word character touches it
  bool normalized = false;   ///< looked for in normalised text

  bool operator==(const AddedToken&) const = default;
};

/// Finds tokens: the leftmost first, the longest among those that begin at one place.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  /// `tokens` may be looked for by another text than their content (its normalised form): `patterns[i]` for tokens[i].
  AddedTokenMatcher(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns);

  bool empty() const { return tokens_.empty(); }

  /// Whether a token that was found, as this stretch of the text, is text after all.
  using IsText = std::function<bool(const AddedToken& token, std::string_view found)>;
  /// Calls `on_text` for the parts between tokens and `on_token` for tokens, in order.
  void split(Part part, const IsText& is_text, const std::function<void(Part)>& on_text,
             const std::function<void(std::int32_t)>& on_token) const;

 private:
  struct Found {
    const AddedToken* token;
    std::size_t begin, end;
  };
  std::optional<Found> find(std::string_view text, std::size_t from) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_pattern_;
  std::array<std::vector<std::size_t>, 256> lengths_;  // of the patterns that begin with a byte, longest first
};

}  // namespace quiver::text
