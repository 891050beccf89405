// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/text_stream.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::serving {
namespace {

/// Each word is one token.
std::shared_ptr<const text::Tokenizer> words(const std::vector<std::string>& pieces) {
  text::TokenizerParts parts;
  for (std::size_t i = 0; i < pieces.size(); ++i)
    parts.added.push_back({.id = static_cast<std::int32_t>(i), .content = pieces[i]});
  return std::make_shared<const text::Tokenizer>(std::move(parts), "test");
}

struct Shown {
  std::string text;                 ///< the stream's own
  std::vector<std::string> pieces;  ///< what could be shown after each token, and at the end
  std::size_t taken = 0;            ///< tokens until it stopped
};

Shown shown(const std::vector<std::string>& tokens, const std::vector<std::string>& stops) {
  TextStream stream(words(tokens), stops);
  Shown out;
  for (std::size_t i = 0; i < tokens.size() && !stream.stopped(); ++i, ++out.taken)
    out.pieces.push_back(stream.push(static_cast<std::int32_t>(i)));
  out.pieces.push_back(stream.finish());
  out.text = stream.text();
  std::string joined;
  for (const auto& piece : out.pieces) joined += piece;
  EXPECT_EQ(joined, out.text);
  return out;
}

TEST(TextStream, TheStopThatBeginsFirstEndsTheTextWhateverTheirOrder) {
  for (const auto& stops : {std::vector<std::string>{"\n", ". "}, std::vector<std::string>{". ", "\n"}}) {
    EXPECT_EQ(shown({"Yes", ". \nNo", "more"}, stops).text, "Yes");
    EXPECT_EQ(shown({"Yes", "\n. No"}, stops).text, "Yes");
  }
  EXPECT_EQ(shown({"abcdef"}, {"f", "cd", "bcde"}).text, "a");
  EXPECT_EQ(shown({"abcdef"}, {"ef", "def", "g"}).text, "abc");
}

TEST(TextStream, AStopAcrossTokensIsFoundAndNothingOfItShown) {
  const auto got = shown({"one ", "t", "w", "o", " three"}, {"two"});
  EXPECT_EQ(got.text, "one ");
  EXPECT_EQ(got.pieces, (std::vector<std::string>{"one ", "", "", "", ""}));
  EXPECT_EQ(got.taken, 4u);
}

TEST(TextStream, WhatCouldBeginAStopIsShownOnceItDoesNot) {
  const auto got = shown({"a", "ab", "x", "xab"}, {"aba"});
  EXPECT_EQ(got.text, "aabxxab");
  EXPECT_EQ(got.pieces, (std::vector<std::string>{"", "a", "abx", "x", "ab"}));
  EXPECT_EQ(shown({"a", "b"}, {}).pieces, (std::vector<std::string>{"a", "b", ""}));
}

TEST(TextStream, AnEmptyStopIsRefused) { EXPECT_THROW(TextStream(words({"a"}), {""}), Error); }

}  // namespace
}  // namespace quiver::serving
