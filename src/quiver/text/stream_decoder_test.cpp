// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/stream_decoder.h"

#include <gtest/gtest.h>

#include "quiver/text/byte_level.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

// Pieces are single bytes, in GPT-2's alphabet, so that every character of more than one byte is spread.
std::shared_ptr<const Tokenizer> byte_tokenizer() {
  TokenizerParts parts;
  for (int byte = 0; byte < 256; ++byte) {
    parts.vocabulary.pieces.emplace_back();
    append_utf8(byte_to_character(static_cast<unsigned char>(byte)), parts.vocabulary.pieces.back());
  }
  parts.bpe.byte_level = true;
  parts.decoder = {ByteLevelDecode{}};
  parts.added.push_back({.id = 256, .content = "<end>", .special = true});
  parts.added.push_back({.id = 257, .content = "\xC3\xA9\xC3\xA9"});
  parts.added.push_back({.id = 0xAE, .content = "\xC2\xAE"});
  return std::make_shared<const Tokenizer>(std::move(parts), "test");
}

TEST(StreamDecoder, GivesWholeCharactersOnly) {
  StreamDecoder decoder(byte_tokenizer());
  EXPECT_EQ(decoder.push('a'), "a");
  for (const int byte : {0xF0, 0x9F, 0x98}) EXPECT_EQ(decoder.push(byte), "");
  EXPECT_EQ(decoder.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.push('b'), std::string(kReplacement) + "b");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.finish(), kReplacement);
  EXPECT_EQ(decoder.finish(), "");
}

/// Steps that look at the whole text: an expression anchored at its beginning, white space taken from its end.
TEST(StreamDecoder, EqualsTheWholeTextWhateverTheDecoderLooksAt) {
  const auto pieces =
      std::vector<std::string>{"-", "the", "-lo", "\xC3\xA9", "e-", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"};
  for (const auto& step : std::vector<DecoderStep>{ReplaceDecode{Regex::compile("^-", "test"), ""},
                                                   ReplaceDecode{Regex::compile("-", "test"), " "},
                                                   StripDecode{"-", 1, 1}, StripDecode{" ", 0, 1}}) {
    TokenizerParts parts;
    parts.vocabulary.pieces = pieces;
    parts.decoder = {ByteFallbackDecode{}, FuseDecode{}, step};
    const auto tokenizer = std::make_shared<const Tokenizer>(std::move(parts), "test");
    for (std::size_t length = 0; length <= pieces.size(); ++length) {
      std::vector<TokenId> ids;
      StreamDecoder decoder(tokenizer);
      std::string streamed;
      for (std::size_t i = 0; i < length; ++i) {
        ids.push_back(static_cast<TokenId>(i));
        streamed += decoder.push(ids.back());
      }
      streamed += decoder.finish();
      EXPECT_EQ(streamed, tokenizer->decode(ids)) << length;
    }
  }
}

TEST(StreamDecoder, HidesSpecialTokensOnRequest) {
  StreamDecoder shown(byte_tokenizer()), hidden(byte_tokenizer(), {.skip_special_tokens = true});
  EXPECT_EQ(shown.push(256), "<end>");
  EXPECT_EQ(hidden.push(256), "");
  EXPECT_EQ(hidden.push(9999), "");
}

TEST(Tokenizer, AnAddedTokenDecodesToItsTextEvenWithinTheByteAlphabet) {
  const auto tokenizer = byte_tokenizer();
  const auto ids = tokenizer->encode("x\xC3\xA9\xC3\xA9y");
  EXPECT_EQ(ids, (std::vector<TokenId>{'x', 257, 'y'}));
  EXPECT_EQ(tokenizer->decode(ids), "x\xC3\xA9\xC3\xA9y");
  // ... but one character stays the byte that shares its id.
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("\xE5\xAE\x88")), "\xE5\xAE\x88");
}

TEST(Tokenizer, BytesThatAreNotUtf8BecomeReplacements) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xFFz")), "a" + std::string(kReplacement) + "z");
}

TEST(Tokenizer, SpecialTokensCanBePlainText) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_EQ(tokenizer->encode("<end>").size(), 1u);
  EXPECT_EQ(tokenizer->encode("<end>", {.parse_special_tokens = false}).size(), 5u);
  EXPECT_TRUE(tokenizer->is_special(256));
  EXPECT_FALSE(tokenizer->is_special(257));
  EXPECT_EQ(tokenizer->vocabulary_size(), 258u);
}

}  // namespace
}  // namespace quiver::text
