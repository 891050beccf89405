// SPDX-License-Identifier: Apache-2.0
// SentencePiece's unigram model (Kudo, "Subword Regularization", 2018): of all ways to split a text into pieces, the
// one with the highest sum of scores (log probabilities), found by Viterbi's algorithm.
//
// A character that is not a piece by itself may be the unknown piece, at `unknown_score`; neighbouring unknown
// characters become one. Between equal sums the piece that begins first wins. Immutable; thread-safe. A text of n bytes
// takes O(n · longest piece) and, since paths are settled wherever no piece crosses, little memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quiver/text/bpe.h"
#include "quiver/text/piece_trie.h"

namespace quiver::text {

struct UnigramPiece {
  std::string text{};  ///< UTF-8; empty for an id that is not used
  double score = 0;
  bool in_text = true;   ///< false: an id that no text is ever split into (SentencePiece's control pieces)
  bool special = false;  ///< left out where special tokens are plain text
};

/// How sums are rounded, which decides between all but equal ones: Hugging Face's `tokenizers` adds in double
/// precision, SentencePiece in single precision.
enum class ScorePrecision { float64, float32 };

struct UnigramVocabulary {
  std::vector<UnigramPiece> pieces;  ///< by id; of two with one text the last one counts
  TokenId unknown = -1;              ///< -1: a character that no piece covers is an error
  double unknown_score = 0;          ///< for each unknown character
  bool byte_fallback = false;        ///< unknown characters become `<0xNN>` pieces where those are there
  ScorePrecision precision = ScorePrecision::float64;
};

enum class SpecialPieces { match, ignore };

class Unigram {
 public:
  /// Throws Error{format} for a vocabulary that is empty, an unknown piece outside of it, a score that is not finite,
  /// or a text that is not UTF-8; `where` names the source.
  Unigram(UnigramVocabulary vocabulary, const std::string& where);
  // Views into its pieces would stay with the original of a copy.
  Unigram(const Unigram&) = delete;
  Unigram& operator=(const Unigram&) = delete;
  Unigram(Unigram&&) = default;
  Unigram& operator=(Unigram&&) = default;

  /// Appends the ids of `text` (valid UTF-8).
  void encode(std::string_view text, SpecialPieces special, std::vector<TokenId>& out) const;

  std::size_t size() const { return pieces_.size(); }
  const std::string& piece(TokenId id) const { return pieces_[static_cast<std::size_t>(id)].text; }
  std::optional<TokenId> id_of(std::string_view piece) const;

 private:
  class Lattice;

  void index_pieces(const std::string& where);
  void append_unknown(std::string_view characters, std::vector<TokenId>& out) const;

  std::vector<UnigramPiece> pieces_;
  TokenId unknown_;
  double unknown_score_;
  bool byte_fallback_;
  ScorePrecision precision_;
  std::vector<double> scores_;                         // of each piece, side by side for the inner loop
  std::unordered_map<std::string_view, TokenId> ids_;  // of views into pieces_
  std::array<TokenId, 256> byte_ids_{};                // of `<0xNN>`; -1 where there is none
  PieceTrie trie_;
};

}  // namespace quiver::text
