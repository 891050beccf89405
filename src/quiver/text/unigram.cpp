// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/unigram.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

std::size_t character_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

Unigram::Unigram(UnigramVocabulary vocabulary, const std::string& where)
    : pieces_(std::move(vocabulary.pieces)),
      unknown_(vocabulary.unknown),
      unknown_score_(vocabulary.unknown_score),
      byte_fallback_(vocabulary.byte_fallback),
      precision_(vocabulary.precision) {
  QUIVER_CHECK(!pieces_.empty(), format, where, "the vocabulary is empty");
  QUIVER_CHECK(unknown_ >= -1 && unknown_ < static_cast<TokenId>(pieces_.size()), format, where,
               "the unknown piece has id {} in a vocabulary of {}", unknown_, pieces_.size());
  index_pieces(where);
}

void Unigram::index_pieces(const std::string& where) {
  std::vector<PieceTrie::Key> keys;
  ids_.reserve(pieces_.size());
  scores_.reserve(pieces_.size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const auto& piece = pieces_[i];
    const auto id = static_cast<TokenId>(i);
    QUIVER_CHECK(std::isfinite(piece.score), format, where, "piece {} ('{}') has a score of {}", id, piece.text,
                 piece.score);
    QUIVER_CHECK(is_valid_utf8(piece.text), format, where, "piece {} is not UTF-8", id);
    scores_.push_back(piece.score);
    if (piece.text.empty()) continue;
    ids_.insert_or_assign(piece.text, id);
    if (piece.in_text) keys.emplace_back(piece.text, id);
  }
  for (int byte = 0; byte < 256; ++byte) byte_ids_[byte] = id_of(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  trie_ = PieceTrie(std::move(keys));
}

std::optional<TokenId> Unigram::id_of(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

// The best paths to the places since the last one that every path goes through, from which they are settled.
class Unigram::Lattice {
 public:
  Lattice(const Unigram& model, std::string_view text, std::vector<TokenId>& out)
      : model_(model), text_(text), out_(out) {
    places_[0].score = 0;
  }
  Lattice(const Lattice&) = delete;

  /// The sum of the best path to `at`, where the next pieces begin.
  double arrive(std::size_t at) {
    if (at == reach_) settle();
    return places_[at - origin_].score;
  }
  bool improves(std::size_t end, double score) const {
    return end > reach_ || places_[end - origin_].bytes == 0 || score > places_[end - origin_].score;
  }
  void set(std::size_t end, std::size_t bytes, TokenId id, double score) {
    if (end > reach_) extend(end);
    auto& place = places_[end - origin_];
    place.score = score;
    place.bytes = static_cast<std::uint32_t>(bytes);
    place.id = id;
  }
  void finish() {
    settle();
    close_unknown(text_.size());
  }

 private:
  static constexpr std::size_t kOpen = static_cast<std::size_t>(-1);

  struct Place {
    double score;
    std::uint32_t bytes;  // of the last piece of the best path that ends here; 0: none ends here
    std::uint32_t next;   // where the piece that follows on the settled path ends
    TokenId id;
  };

  void extend(std::size_t end) {
    if (end - origin_ >= capacity_) {
      if (many_.empty()) many_.assign(few_.begin(), few_.begin() + static_cast<std::ptrdiff_t>(reach_ - origin_ + 1));
      many_.resize(2 * (end - origin_));
      places_ = many_.data();
      capacity_ = many_.size();
    }
    for (auto at = reach_ + 1; at <= end; ++at) places_[at - origin_].bytes = 0;
    reach_ = end;
  }

  void settle() {
    for (auto end = static_cast<std::uint32_t>(reach_ - origin_); end > 0;) {
      const auto begin = end - places_[end].bytes;
      places_[begin].next = end;
      end = begin;
    }
    for (std::size_t begin = 0, end; begin < reach_ - origin_; begin = end) {
      end = places_[begin].next;
      append(places_[end].id, origin_ + begin);
    }
    places_[0].score = places_[reach_ - origin_].score;
    origin_ = reach_;
  }

  void append(TokenId id, std::size_t begin) {
    if (id == model_.unknown_) {
      if (unknown_begin_ == kOpen) unknown_begin_ = begin;
      return;
    }
    close_unknown(begin);
    out_.push_back(id);
  }

  void close_unknown(std::size_t end) {
    if (unknown_begin_ == kOpen) return;
    model_.append_unknown(text_.substr(unknown_begin_, end - unknown_begin_), out_);
    unknown_begin_ = kOpen;
  }

  const Unigram& model_;
  std::string_view text_;
  std::vector<TokenId>& out_;
  std::array<Place, 96> few_;  // as many as words need, without an allocation
  std::vector<Place> many_;
  Place* places_ = few_.data();
  std::size_t capacity_ = few_.size();
  std::size_t origin_ = 0, reach_ = 0;
  std::size_t unknown_begin_ = kOpen;
};

void Unigram::encode(std::string_view text, SpecialPieces special, std::vector<TokenId>& out) const {
  Lattice lattice(*this, text, out);
  const bool narrow = precision_ == ScorePrecision::float32;
  const auto sum = [&](double a, double b) { return narrow ? static_cast<float>(a + b) : a + b; };
  for (std::size_t at = 0, bytes; at < text.size(); at += bytes) {
    const auto here = lattice.arrive(at);
    bytes = character_bytes(text[at]);
    bool single = false;  // whether the character is a piece by itself
    trie_.for_each_prefix(text.substr(at), [&](std::size_t length, TokenId id) {
      if (special == SpecialPieces::ignore && pieces_[static_cast<std::size_t>(id)].special) return;
      single = single || length == bytes;
      const auto score = sum(here, scores_[static_cast<std::size_t>(id)]);
      if (lattice.improves(at + length, score)) lattice.set(at + length, length, id, score);
    });
    if (single) continue;
    const auto score = sum(here, unknown_score_);
    if (!lattice.improves(at + bytes, score)) continue;
    QUIVER_CHECK(unknown_ >= 0, format, "tokenizer", "no piece covers '{}', and the model has no unknown piece",
                 text.substr(at, bytes));
    lattice.set(at + bytes, bytes, unknown_, score);
  }
  lattice.finish();
}

void Unigram::append_unknown(std::string_view characters, std::vector<TokenId>& out) const {
  const auto id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  const bool as_bytes = byte_fallback_ && characters != piece(unknown_) &&
                        std::all_of(characters.begin(), characters.end(), [&](char byte) { return id(byte) >= 0; });
  if (as_bytes) {
    std::transform(characters.begin(), characters.end(), std::back_inserter(out), id);
  } else {
    out.push_back(unknown_);
  }
}

}  // namespace quiver::text
