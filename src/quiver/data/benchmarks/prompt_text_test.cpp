// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/prompt_text.h"

#include <gtest/gtest.h>

namespace quiver::data {
namespace {

TEST(PromptText, PunctuationIsPadded) {
  EXPECT_EQ(pad_punctuation("Who?"), "Who ? ");
  EXPECT_EQ(pad_punctuation("a_b (5%), c"), "a_b ( 5 % ) , c");
  EXPECT_EQ(pad_punctuation("  two\t\nlines  "), " two lines ");
  EXPECT_EQ(pad_punctuation("\xC3\x89t\xC3\xA9 \xE2\x80\x9Cn\xE2\x82\x82\xE2\x80\x9D\xC2\xA0x"),
            "\xC3\x89t\xC3\xA9 \xE2\x80\x9C n\xE2\x82\x82 \xE2\x80\x9D x")
      << "letters and numbers beyond ASCII stay whole, quotation marks do not, a no-break space is white space";
  EXPECT_EQ(pad_punctuation(""), "");
}

TEST(PromptText, MarkupGoes) { EXPECT_EQ(strip_markup("<b>1: </b>One.<br><b>2: </b>Two<i>"), "1: One. 2: Two<i>"); }

TEST(PromptText, HighlightsBecomeSentences) {
  EXPECT_EQ(join_highlights("It rained.\n@highlight\nRoads closed\n@highlight\nHe said \"no\"\n@highlight\nEnd"),
            "It rained. Roads closed. He said \"no\" End");
  EXPECT_EQ(join_highlights("\n@highlight\nx"), ". x");
}

TEST(PromptText, SpansAreMarkedByWord) {
  EXPECT_EQ(mark_span("The fox saw the dog .", "the dog", 3, '*'), "The fox saw * the dog * .");
  EXPECT_EQ(mark_span("It, the fox, ran", "It", 0, '#'), "# It #, the fox, ran");
  EXPECT_EQ(mark_span("The fox", "dog", 1, '*'), "The fox");
  EXPECT_EQ(mark_span("The fox", "fox", 5, '*'), "The fox");
  EXPECT_EQ(mark_span("two  spaces here", "here", 2, '*'), "two  spaces here") << "words are parted by one space";
}

}  // namespace
}  // namespace quiver::data
