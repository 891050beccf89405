// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back: added tokens, normaliser, pre-tokeniser, byte-pair encoding or unigram model, template,
// decoder, in the order and with the results of Hugging Face's `tokenizers`.
//
// Immutable after construction, moved but not copied; thread-safe. Text is UTF-8; bytes that are not become U+FFFD
// before anything else. Decoding what was encoded gives the text back, where the tokenizer does not normalise it and
// knows all its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "quiver/text/added_tokens.h"
#include "quiver/text/bpe.h"
#include "quiver/text/decoder.h"
#include "quiver/text/normalizer.h"
#include "quiver/text/pre_tokenizer.h"
#include "quiver/text/text_part.h"
#include "quiver/text/unigram.h"

namespace quiver::text {

struct EncodeOptions {
  bool add_special_tokens = false;   ///< put what the model's template puts around a text (BOS, EOS)
  bool parse_special_tokens = true;  ///< false: special tokens in the text are plain text (for what a user typed)
};

struct DecodeOptions {
  bool skip_special_tokens = false;
};

/// Everything a tokenizer is made of; loaders fill it.
struct TokenizerParts {
  BpeVocabulary vocabulary;
  BpeOptions bpe;
  std::optional<UnigramVocabulary> unigram;  ///< where it is there, the model, instead of `vocabulary` and `bpe`
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  std::vector<TokenId> prefix, suffix;  ///< around a text, with add_special_tokens
  std::optional<TokenId> bos_id;
  std::vector<TokenId> eos_ids;
};

class Tokenizer {
 public:
  /// Throws Error{format} for parts that contradict each other; `where` names their source.
  Tokenizer(TokenizerParts parts, const std::string& where);

  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;
  /// One text in parts, words and merges across their borders as if it stood in one piece. No special token, and no
  /// added one that `markers` (a template's source) mentions, is found in what is plain.
  std::vector<TokenId> encode(std::span<const TextPart> parts, std::string_view markers) const;
  /// Ids that no piece has add nothing; a negative id is Error{usage}.
  std::string decode(std::span<const TokenId> ids, DecodeOptions options = {}) const;
  /// The bytes that a token adds within a text; a character may be spread over several tokens (see StreamDecoder).
  const std::string& piece_bytes(TokenId id) const;
  /// Spaces that decode() takes from the beginning of a text, and piece_bytes() does not.
  std::size_t leading_spaces_dropped() const { return leading_spaces_dropped_; }
  /// True where a text is more than the bytes of its tokens, one after another.
  bool reads_whole_text() const { return text::reads_whole_text(decoder_); }

  /// One more than the highest id.
  std::size_t vocabulary_size() const { return piece_bytes_.size(); }
  /// The id of an added token's text or of a piece as the file spells it.
  std::optional<TokenId> token_id(std::string_view piece) const;
  /// As the file spells it, an added token as it stands in normalised text; "" for an id that is not used.
  std::string token_text(TokenId id) const;

  std::optional<TokenId> bos_id() const { return bos_id_; }
  /// What add_special_tokens puts before a text, and behind it.
  const std::vector<TokenId>& prefix() const { return prefix_; }
  const std::vector<TokenId>& suffix() const { return suffix_; }
  /// Tokens that end a generated text; the first is the one to train with. Empty where the files name none.
  const std::vector<TokenId>& eos_ids() const { return eos_ids_; }
  bool is_eos(TokenId id) const;
  /// An added token that the files call special.
  bool is_special(TokenId id) const;
  bool is_added(TokenId id) const { return added_kind(id) != AddedKind::none; }

 private:
  enum class AddedKind : std::uint8_t { none, plain, special };

  static std::variant<Bpe, Unigram> make_model(TokenizerParts& parts, const std::string& where);
  void index_added(std::vector<AddedToken> added, const std::string& where);
  void check_ids(const std::string& where) const;
  AddedKind added_kind(TokenId id) const;
  DecodingPiece decoding_piece(TokenId id) const;
  std::size_t model_size() const;
  std::optional<TokenId> model_id(std::string_view piece) const;
  class Stretches;
  std::vector<TokenId> encode_text(std::string_view text, const Stretches& stretches) const;
  void encode_part(Part part, const Stretches& stretches, MatchScratch& scratch, std::vector<TokenId>& out) const;

  std::variant<Bpe, Unigram> model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Decoder decoder_;
  std::vector<TokenId> prefix_, suffix_;
  std::optional<TokenId> bos_id_;
  std::vector<TokenId> eos_ids_;
  AddedTokenMatcher raw_matcher_, normalized_matcher_;
  std::unordered_map<std::string, TokenId> added_ids_;
  std::unordered_map<TokenId, std::string> added_text_;
  std::vector<AddedKind> added_kinds_;
  std::vector<std::string> piece_bytes_;
  std::size_t leading_spaces_dropped_ = 0;
};

}  // namespace quiver::text
