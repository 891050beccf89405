// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/unicode.h"

#include <gtest/gtest.h>

#include "quiver/text/byte_level.h"

namespace quiver::text {
namespace {

TEST(Unicode, EveryCodePointSurvivesARoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    std::string bytes;
    append_utf8(c, bytes);
    if (c >= 0xD800 && c <= 0xDFFF) {
      ASSERT_FALSE(is_valid_utf8(bytes));
      continue;
    }
    ASSERT_TRUE(is_valid_utf8(bytes));
    const auto [code_point, size] = character_at(bytes, 0);
    ASSERT_EQ(code_point, c);
    ASSERT_EQ(size, bytes.size());
  }
}

TEST(Unicode, EachMaximalIllFormedPartBecomesOneReplacement) {
  // The example of the Unicode standard, table 3-11, and the shapes beside it.
  const std::string r(kReplacement);
  EXPECT_EQ(to_valid_utf8("\x41\xC0\xAF\x41\xF4\x80\x80\x41"), "A" + r + r + "A" + r + "A");
  EXPECT_EQ(to_valid_utf8("\xE2\x98"), r);
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(to_valid_utf8("\xF0\x9F\x98"), r);
  EXPECT_EQ(to_valid_utf8("\xFF\xFE"), r + r);
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80\x80"), r + r + r + r);
}

TEST(Unicode, AnUnfinishedCharacterIsKeptForLater) {
  std::string out;
  EXPECT_EQ(append_valid_utf8("a\xF0\x9F\x98", TrailingBytes::keep, out), 1u);
  EXPECT_EQ(out, "a");
}

TEST(ByteLevel, EveryByteHasItsOwnCharacter) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(bytes_of_piece(piece_of_bytes(all)), all);
  EXPECT_EQ(piece_of_bytes(" a\n"),
            "\xC4\xA0"
            "a\xC4\x8A");
  EXPECT_FALSE(bytes_of_piece("a b"));
  EXPECT_FALSE(bytes_of_piece("\xE2\x96\x81"));
}

}  // namespace
}  // namespace quiver::text
