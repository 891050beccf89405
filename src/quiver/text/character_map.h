// SPDX-License-Identifier: Apache-2.0
// The table by which SentencePiece replaces characters and short sequences (a `precompiled_charsmap`): most often
// Unicode's NFKC with some further spaces and control characters.
//
// Bytes, little-endian: u32 size of the trie in bytes; the trie, a double array of u32 units (Darts); replacements as
// NUL-terminated UTF-8. A unit is: bits 0-7 the byte that leads to it, 8 whether a string ends at it, 9-30 the offset
// to its children; a string's end is a unit of its own, bit 31 set, bits 0-30 its replacement's position.
// Immutable; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::text {

/// What is looked up at each place of a text.
enum class MapMatching {
  /// SentencePiece: the longest sequence that the table has.
  longest,
  /// Hugging Face's `tokenizers`: a grapheme cluster of less than six bytes, else each character; whatever shortest
  /// sequence the cluster begins with replaces the whole of it.
  graphemes,
};

class CharacterMap {
 public:
  /// Checks that sizes fit and that every replacement is there and UTF-8, else Error{format}; `where` names the source.
  static CharacterMap parse(std::string_view bytes, const std::string& where);
  static CharacterMap parse_base64(std::string_view text, const std::string& where);

  /// `text` must be valid UTF-8; so is the result. With `longest`, the sequences `kept` stay as they are; the longest
  /// of them counts first.
  std::string apply(std::string_view text, MapMatching matching, const std::vector<std::string>& kept = {}) const;

 private:
  struct Found {
    std::size_t bytes;
    std::string_view replacement;
  };
  enum class Want { shortest, longest };

  std::optional<Found> find(std::string_view text, Want want) const;
  void append_longest(std::string_view text, const std::vector<std::string>& kept, std::string& out) const;
  void append_graphemes(std::string_view text, std::string& out) const;
  void append_character(std::string_view character, std::string& out) const;
  std::string_view replacement_at(std::uint32_t position) const;
  void check(const std::string& where) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
  std::array<bool, 128> plain_{};  // ASCII characters that stay as they are and are clusters before other ASCII ones
};

}  // namespace quiver::text
