// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::text {

Tokenizer::Tokenizer(TokenizerParts parts, const std::string& where)
    : model_(make_model(parts, where)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      decoder_(std::move(parts.decoder)),
      prefix_(std::move(parts.prefix)),
      suffix_(std::move(parts.suffix)),
      bos_id_(parts.bos_id),
      eos_ids_(std::move(parts.eos_ids)) {
  index_added(std::move(parts.added), where);
  check_ids(where);
  for (std::size_t id = 0; id < added_kinds_.size(); ++id) {
    piece_bytes_.push_back(decode_piece_bytes(decoder_, decoding_piece(static_cast<TokenId>(id))));
  }
  leading_spaces_dropped_ = text::leading_spaces_dropped(decoder_);
}

std::variant<Bpe, Unigram> Tokenizer::make_model(TokenizerParts& parts, const std::string& where) {
  if (!parts.unigram) return Bpe(std::move(parts.vocabulary), std::move(parts.bpe), where);
  auto& pieces = parts.unigram->pieces;
  for (const auto& token : parts.added) {
    const auto index = static_cast<std::size_t>(token.id);
    if (token.special && token.id >= 0 && index < pieces.size()) pieces[index].special = true;
  }
  return Unigram(std::move(*parts.unigram), where);
}

std::size_t Tokenizer::model_size() const {
  return std::visit([](const auto& model) { return model.size(); }, model_);
}

std::optional<TokenId> Tokenizer::model_id(std::string_view piece) const {
  return std::visit([&](const auto& model) { return model.id_of(piece); }, model_);
}

void Tokenizer::index_added(std::vector<AddedToken> added, const std::string& where) {
  added_kinds_.resize(model_size(), AddedKind::none);
  std::vector<AddedToken> raw, normalized;
  std::vector<std::string> raw_patterns, normalized_patterns;
  MatchScratch scratch;
  for (auto& token : added) {
    QUIVER_CHECK(token.id >= 0 && !token.content.empty(), format, where, "added token '{}' with id {}", token.content,
                 token.id);
    const auto index = static_cast<std::size_t>(token.id);
    if (index >= added_kinds_.size()) added_kinds_.resize(index + 1, AddedKind::none);
    const auto in_vocabulary = model_id(token.content);
    QUIVER_CHECK(!in_vocabulary || *in_vocabulary == token.id, format, where,
                 "added token '{}' has id {}, but the vocabulary gives it {}", token.content, token.id,
                 in_vocabulary.value_or(-1));
    auto pattern = token.normalized ? normalize(normalizer_, token.content, scratch) : token.content;
    QUIVER_CHECK(added_text_.emplace(token.id, pattern).second, format, where, "two added tokens have id {}", token.id);
    QUIVER_CHECK(added_ids_.emplace(token.content, token.id).second, format, where, "added token '{}' is there twice",
                 token.content);
    added_kinds_[index] = token.special ? AddedKind::special : AddedKind::plain;
    (token.normalized ? normalized_patterns : raw_patterns).push_back(std::move(pattern));
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_matcher_ = AddedTokenMatcher(std::move(raw), raw_patterns);
  normalized_matcher_ = AddedTokenMatcher(std::move(normalized), normalized_patterns);
}

void Tokenizer::check_ids(const std::string& where) const {
  const auto check = [&](TokenId id, const char* name) {
    QUIVER_CHECK(id >= 0 && static_cast<std::size_t>(id) < added_kinds_.size(), format, where,
                 "the {} token has id {}, but the vocabulary has {} pieces", name, id, added_kinds_.size());
  };
  if (bos_id_) check(*bos_id_, "BOS");
  for (const auto id : eos_ids_) check(id, "EOS");
  for (const auto id : prefix_) check(id, "template's");
  for (const auto id : suffix_) check(id, "template's");
}

/// Which stretches of a text hold no special tokens.
class Tokenizer::Stretches {
 public:
  enum class All { parsed, plain };
  explicit Stretches(All all) : all_plain_(all == All::plain) {}
  /// Views of the plain stretches, in the order of the text.
  Stretches(std::vector<std::string_view> plain, std::string_view markers)
      : plain_(std::move(plain)), markers_(markers) {}

  /// `text` is a view into the text itself.
  bool plain_in(std::string_view text) const { return all_plain_ || !plain_of(text).empty(); }
  /// The plain stretches that reach into it.
  std::span<const std::string_view> plain_of(std::string_view text) const {
    const auto first = std::partition_point(
        plain_.begin(), plain_.end(), [&](std::string_view own) { return own.data() + own.size() <= text.data(); });
    const auto last = std::partition_point(
        first, plain_.end(), [&](std::string_view own) { return own.data() < text.data() + text.size(); });
    return {first, last};
  }
  bool is_marker(const AddedToken& token) const {
    return token.special || (!markers_.empty() && markers_.find(token.content) != std::string_view::npos);
  }
  bool all_plain() const { return all_plain_; }

 private:
  bool all_plain_ = false;
  std::vector<std::string_view> plain_;
  std::string_view markers_;
};

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = to_valid_utf8(text);
    text = repaired;
  }
  const Stretches stretches(options.parse_special_tokens ? Stretches::All::parsed : Stretches::All::plain);
  auto out = encode_text(text, stretches);
  if (!options.add_special_tokens) return out;
  out.insert(out.begin(), prefix_.begin(), prefix_.end());
  out.insert(out.end(), suffix_.begin(), suffix_.end());
  return out;
}

std::vector<TokenId> Tokenizer::encode(std::span<const TextPart> parts, std::string_view markers) const {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (const auto& part : parts) {
    const auto begin = text.size();
    text += to_valid_utf8(part.text);
    if (part.plain) places.emplace_back(begin, text.size() - begin);
  }
  std::vector<std::string_view> plain;
  for (const auto& [begin, size] : places) plain.push_back(std::string_view(text).substr(begin, size));
  return encode_text(text, Stretches(std::move(plain), markers));
}

std::vector<TokenId> Tokenizer::encode_text(std::string_view text, const Stretches& stretches) const {
  std::vector<TokenId> out;
  out.reserve(text.size() / 4 + 8);
  MatchScratch scratch;
  raw_matcher_.split(
      {text, true},
      [&](const AddedToken& token, std::string_view found) {
        return stretches.is_marker(token) && stretches.plain_in(found);
      },
      [&](Part part) { encode_part(part, stretches, scratch, out); }, [&](TokenId id) { out.push_back(id); });
  return out;
}

void Tokenizer::encode_part(Part part, const Stretches& stretches, MatchScratch& scratch,
                            std::vector<TokenId>& out) const {
  const bool plain = stretches.plain_in(part.text);
  std::string normalized;
  std::vector<std::string> typed;  // what is plain, as it stands in the normalised text
  if (!normalizer_.empty()) {
    for (const auto own : stretches.plain_of(part.text)) typed.push_back(normalize(normalizer_, own, scratch));
    normalized = normalize(normalizer_, part.text, scratch);
    part.text = normalized;
  }
  const auto* bpe = std::get_if<Bpe>(&model_);
  const auto special = plain ? SpecialPieces::ignore : SpecialPieces::match;
  const auto encode_word = [&](std::string_view word) {
    bpe ? bpe->encode(word, out) : std::get<Unigram>(model_).encode(word, special, out);
  };
  // Normalised text has lost its places: a token that somebody typed is none anywhere in this part.
  const auto is_text = [&](const AddedToken& token, std::string_view found) {
    if (!plain || !stretches.is_marker(token)) return false;
    if (stretches.all_plain()) return true;
    if (normalizer_.empty()) return stretches.plain_in(found);
    return std::any_of(typed.begin(), typed.end(),
                       [&](const auto& own) { return own.find(found) != std::string::npos; });
  };
  normalized_matcher_.split(
      part, is_text, [&](Part words) { split_words(pre_tokenizer_, words, scratch, encode_word); },
      [&](TokenId id) { out.push_back(id); });
}

std::string Tokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  std::vector<DecodingPiece> pieces;
  pieces.reserve(ids.size());
  for (const auto id : ids) {
    QUIVER_CHECK(id >= 0, usage, "decode", "token id {}", id);
    if (options.skip_special_tokens && is_special(id)) continue;
    auto piece = decoding_piece(id);
    if (!piece.text.empty()) pieces.push_back(std::move(piece));
  }
  return decode_pieces(decoder_, std::move(pieces));
}

const std::string& Tokenizer::piece_bytes(TokenId id) const {
  static const std::string nothing;
  const auto index = static_cast<std::size_t>(id);
  return id >= 0 && index < piece_bytes_.size() ? piece_bytes_[index] : nothing;
}

std::optional<TokenId> Tokenizer::token_id(std::string_view piece) const {
  const auto added = added_ids_.find(std::string(piece));
  return added != added_ids_.end() ? std::optional(added->second) : model_id(piece);
}

std::string Tokenizer::token_text(TokenId id) const {
  const auto added = added_text_.find(id);
  if (added != added_text_.end()) return added->second;
  if (id < 0 || static_cast<std::size_t>(id) >= model_size()) return "";
  return std::visit([&](const auto& model) { return model.piece(id); }, model_);
}

Tokenizer::AddedKind Tokenizer::added_kind(TokenId id) const {
  const auto index = static_cast<std::size_t>(id);
  return id >= 0 && index < added_kinds_.size() ? added_kinds_[index] : AddedKind::none;
}

DecodingPiece Tokenizer::decoding_piece(TokenId id) const {
  DecodingPiece piece{token_text(id), added_kind(id) != AddedKind::none};
  // A single character that was added shares its id with the byte that it stands for in a byte-level vocabulary.
  if (piece.added && character_at(piece.text, 0).bytes == piece.text.size()) piece.added = false;
  return piece;
}

bool Tokenizer::is_special(TokenId id) const { return added_kind(id) == AddedKind::special; }

bool Tokenizer::is_eos(TokenId id) const { return std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end(); }

}  // namespace quiver::text
