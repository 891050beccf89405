// SPDX-License-Identifier: Apache-2.0
// From pieces back to text. Immutable; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quiver/text/regex.h"

namespace quiver::text {

/// Pieces are written in GPT-2's byte alphabet.
struct ByteLevelDecode {};
struct ReplaceDecode {
  Regex pattern;
  std::string content;
};
/// `<0xNN>` pieces are bytes; runs of them that are not UTF-8 become one U+FFFD for each piece.
struct ByteFallbackDecode {};
/// All pieces become one.
struct FuseDecode {};
/// Up to `start` times `content` is taken from the front of each piece, up to `stop` times from its end.
struct StripDecode {
  std::string content;
  std::size_t start = 0, stop = 0;
};
/// `replacement` is a space; those that begin the text are dropped where `drop_first`.
struct MetaspaceDecode {
  std::string replacement;
  bool drop_first = true;
};

using DecoderStep =
    std::variant<ByteLevelDecode, ReplaceDecode, ByteFallbackDecode, FuseDecode, StripDecode, MetaspaceDecode>;

/// Steps, in order; the pieces that the last one leaves are joined.
using Decoder = std::vector<DecoderStep>;

/// A piece as it enters decoding; the text of an added token is never read as bytes.
struct DecodingPiece {
  std::string text;
  bool added = false;
};

/// The text, valid UTF-8 throughout.
std::string decode_pieces(const Decoder& decoder, std::vector<DecodingPiece> pieces);

/// The bytes of one piece in the middle of a text: steps that look at neighbours (Fuse, Strip) are left out.
std::string decode_piece_bytes(const Decoder& decoder, DecodingPiece piece);

/// How many spaces at the beginning of a text the decoder takes away, which decode_piece_bytes leaves.
std::size_t leading_spaces_dropped(const Decoder& decoder);

/// True where a step looks at the whole text, so that what pieces add is known only from all of them.
bool reads_whole_text(const Decoder& decoder);

}  // namespace quiver::text
