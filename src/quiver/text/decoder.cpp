// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/decoder.h"

#include <algorithm>
#include <optional>

#include "quiver/text/byte_level.h"
#include "quiver/text/normalizer.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

using Pieces = std::vector<DecodingPiece>;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<char> fallback_byte(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = hex_digit(piece[3]), low = hex_digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

std::string byte_level_text(const DecodingPiece& piece) {
  if (piece.added) return piece.text;
  return bytes_of_piece(piece.text).value_or(piece.text);
}

void apply(const ByteLevelDecode&, Pieces& pieces, MatchScratch&) {
  std::string bytes;
  for (const auto& piece : pieces) bytes += byte_level_text(piece);
  pieces = {{std::move(bytes), false}};
}

void apply(const ReplaceDecode& step, Pieces& pieces, MatchScratch& scratch) {
  for (auto& piece : pieces) piece.text = replace_all(step.pattern, piece.text, step.content, scratch);
}

void apply(const ByteFallbackDecode&, Pieces& pieces, MatchScratch&) {
  Pieces out;
  for (std::size_t i = 0; i < pieces.size();) {
    std::string bytes;
    for (std::optional<char> byte; i < pieces.size() && (byte = fallback_byte(pieces[i].text)); ++i) bytes += *byte;
    if (bytes.empty()) {
      out.push_back(std::move(pieces[i++]));
    } else if (is_valid_utf8(bytes)) {
      out.push_back({std::move(bytes), false});
    } else {
      for (std::size_t k = 0; k < bytes.size(); ++k) out.push_back({std::string(kReplacement), false});
    }
  }
  pieces = std::move(out);
}

void apply(const FuseDecode&, Pieces& pieces, MatchScratch&) {
  std::string text;
  for (const auto& piece : pieces) text += piece.text;
  pieces = {{std::move(text), false}};
}

void apply(const StripDecode& step, Pieces& pieces, MatchScratch&) {
  for (auto& piece : pieces) {
    std::string_view text = piece.text;
    for (std::size_t i = 0; i < step.start && text.starts_with(step.content); ++i) {
      text.remove_prefix(step.content.size());
    }
    for (std::size_t i = 0; i < step.stop && text.ends_with(step.content); ++i) text.remove_suffix(step.content.size());
    piece.text = std::string(text);
  }
}

void apply(const MetaspaceDecode& step, Pieces& pieces, MatchScratch&) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::string text;
    for (std::size_t at = 0; at < pieces[i].text.size();) {
      if (!std::string_view(pieces[i].text).substr(at).starts_with(step.replacement)) {
        text += pieces[i].text[at++];
        continue;
      }
      if (i > 0 || !step.drop_first) text += ' ';
      at += step.replacement.size();
    }
    pieces[i].text = std::move(text);
  }
}

}  // namespace

std::string decode_pieces(const Decoder& decoder, std::vector<DecodingPiece> pieces) {
  MatchScratch scratch;
  for (const auto& step : decoder) {
    std::visit([&](const auto& kind) { apply(kind, pieces, scratch); }, step);
  }
  std::string bytes;
  for (const auto& piece : pieces) bytes += piece.text;
  return is_valid_utf8(bytes) ? bytes : to_valid_utf8(bytes);
}

std::string decode_piece_bytes(const Decoder& decoder, DecodingPiece piece) {
  MatchScratch scratch;
  for (const auto& step : decoder) {
    if (std::holds_alternative<ByteLevelDecode>(step)) {
      piece.text = byte_level_text(piece);
    } else if (std::holds_alternative<ByteFallbackDecode>(step)) {
      if (const auto byte = fallback_byte(piece.text)) return std::string(1, *byte);
    } else if (const auto* replace = std::get_if<ReplaceDecode>(&step)) {
      piece.text = replace_all(replace->pattern, piece.text, replace->content, scratch);
    } else if (const auto* metaspace = std::get_if<MetaspaceDecode>(&step)) {
      Pieces one = {std::move(piece)};
      apply(MetaspaceDecode{metaspace->replacement, false}, one, scratch);
      piece = std::move(one.front());
    }
  }
  return std::move(piece.text);
}

bool reads_whole_text(const Decoder& decoder) {
  bool joined = false;
  for (const auto& step : decoder) {
    if (std::holds_alternative<ByteLevelDecode>(step) || std::holds_alternative<FuseDecode>(step)) joined = true;
    if (joined && std::holds_alternative<ReplaceDecode>(step)) return true;
    const auto* strip = std::get_if<StripDecode>(&step);
    if (strip && !(joined && strip->content == " " && strip->stop == 0)) return true;
  }
  return false;
}

std::size_t leading_spaces_dropped(const Decoder& decoder) {
  std::size_t dropped = 0;
  for (const auto& step : decoder) {
    if (const auto* strip = std::get_if<StripDecode>(&step); strip && strip->content == " ") dropped += strip->start;
    if (const auto* metaspace = std::get_if<MetaspaceDecode>(&step); metaspace && metaspace->drop_first) ++dropped;
  }
  return dropped;
}

}  // namespace quiver::text
