// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word: pairs are merged by rank, the lowest rank first, the leftmost among equals.
//
// A word is bytes when the vocabulary is byte-level (GPT-2's alphabet), else UTF-8 text. Immutable after construction;
// thread-safe. A word of n symbols takes O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace quiver::text {

using TokenId = std::int32_t;

struct BpeVocabulary {
  /// By id, as the file spells them (byte-level: in GPT-2's alphabet); an empty string is an id that is not used.
  std::vector<std::string> pieces;
  /// Two pieces that become one, in order of rank. The joined piece must be in the vocabulary.
  std::vector<std::pair<std::string, std::string>> merges;
};

struct BpeOptions {
  bool byte_level = false;     ///< words are bytes, pieces are written in GPT-2's alphabet
  bool byte_fallback = false;  ///< a character that is not in the vocabulary becomes `<0xNN>` pieces
  bool ignore_merges = false;  ///< a word that is itself a piece is that piece, whatever the merges say
  bool fuse_unknown = false;   ///< neighbouring unknown characters become one unknown piece
  std::string unknown{};       ///< piece for unknown characters; where empty they are dropped, as upstream does
};

/// A merge written as one text, "left right".
std::pair<std::string, std::string> split_merge(const std::string& merge, const std::string& where);

class Bpe {
 public:
  /// Throws Error{format} for a merge or unknown piece that is not in the vocabulary, or a piece that is there twice;
  /// `where` names the source.
  Bpe(BpeVocabulary vocabulary, BpeOptions options, const std::string& where);
  // Views into its pieces would stay with the original of a copy.
  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;
  Bpe(Bpe&&) = default;
  Bpe& operator=(Bpe&&) = default;

  void encode(std::string_view word, std::vector<TokenId>& out) const;

  std::size_t size() const { return pieces_.size(); }
  /// As the file spells it; "" for an id that is not used.
  const std::string& piece(TokenId id) const { return pieces_[static_cast<std::size_t>(id)]; }
  std::optional<TokenId> id_of(std::string_view piece) const;
  const BpeOptions& options() const { return options_; }

 private:
  struct Merge {
    std::uint64_t pair;
    std::uint32_t rank;
    TokenId joined;
  };

  void index_pieces(const std::string& where);
  void index_merges(const BpeVocabulary& vocabulary, const std::string& where);
  void index_symbols(const std::string& where);
  void index_words();
  const Merge* find_merge(TokenId left, TokenId right) const;
  void insert_merge(const Merge& merge);

  /// Appends the word's symbols, unmerged.
  void append_symbols(std::string_view word, std::vector<TokenId>& out) const;
  // Merge the symbols from `begin` on in place.
  void merge_short(std::size_t begin, std::vector<TokenId>& out) const;
  void merge_long(std::size_t begin, std::vector<TokenId>& out) const;

  BpeOptions options_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, TokenId> ids_;  // of views into pieces_
  std::vector<Merge> merges_;                          // open addressing, linear probing
  std::uint64_t merge_mask_ = 0;
  std::array<TokenId, 256> byte_ids_{};  // byte-level: of a byte; byte fallback: of `<0xNN>`; -1 where there is none
  TokenId unknown_ = -1;
  // Words that are one piece: most of any text. Keys are views into word_bytes_ (byte-level) or pieces_.
  std::vector<std::string> word_bytes_;
  std::unordered_map<std::string_view, TokenId> words_;
};

}  // namespace quiver::text
