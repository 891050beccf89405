// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/regex.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

std::vector<std::string> matches(const Regex& regex, const std::string& text) {
  MatchScratch scratch;
  std::vector<std::string> found;
  for (std::size_t at = 0; at < text.size();) {
    const auto match = regex.find(text, at, scratch);
    if (!match) break;
    found.push_back(text.substr(match->begin, match->end - match->begin));
    at = match->end;
  }
  return found;
}

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  return matches(Regex::compile(pattern, "test"), text);
}

using Strings = std::vector<std::string>;

TEST(Regex, WhiteSpaceIsUnicodeWhiteSpace) {
  const std::string vowel_separator = "\xE1\xA0\x8E";  // U+180E, a space in PCRE2's \s only
  EXPECT_EQ(matches(R"(\s+)",
                    "a\xC2\xA0\xE3\x80\x80"
                    "b" +
                        vowel_separator + "c\x85"),
            Strings{"\xC2\xA0\xE3\x80\x80"});
  EXPECT_EQ(matches(R"([^\s]+)", vowel_separator), Strings{vowel_separator});
  EXPECT_EQ(matches(R"([\S]+)", "a b"), (Strings{"a", "b"}));
  EXPECT_EQ(matches(R"(\S)", "\xC2\x85z"), Strings{"z"});
}

TEST(Regex, AnchorsMatchAtLineEnds) { EXPECT_EQ(matches("^a|b$", "a b\nab"), (Strings{"a", "b", "a", "b"})); }

TEST(Regex, LiteralTextHasNoSyntax) { EXPECT_EQ(matches(Regex::literal("a.*", "test"), "ab a.*"), Strings{"a.*"}); }

TEST(Regex, EmptyMatchesAreSkipped) { EXPECT_EQ(matches("a*", "baab"), Strings{"aa"}); }

TEST(Regex, RefusesWhatPcre2WouldReadOtherwise) {
  for (const char* pattern : {"a{2}+", "[a[bc]]", "[a-z&&[aeiou]]", R"(\h)", R"(\G)", "(?m:.)", R"(\X)", R"([\W])"}) {
    try {
      Regex::compile(pattern, "file: key");
      FAIL() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported) << pattern;
      EXPECT_NE(std::string(error.what()).find("file: key"), std::string::npos);
    }
  }
}

TEST(Regex, DamagedPatternsAreErrors) {
  for (const char* pattern : {"(", "[a", "\\", "\\p{Nonsense}", "\\p{L", "\\u12", "a**b(", "[[:x", "(?i"}) {
    EXPECT_THROW(Regex::compile(pattern, "test"), Error) << pattern;
  }
  EXPECT_THROW(Regex::compile(std::string(1 << 17, 'a'), "test"), Error);
  EXPECT_THROW(Regex::compile(std::string(5000, '('), "test"), Error);
  EXPECT_THROW(Regex::literal("", "test"), Error);
}

TEST(Regex, ARunawayPatternIsAnError) {
  const auto regex = Regex::compile("(?:(a|aa)+)+[^a]", "test");
  MatchScratch scratch;
  EXPECT_THROW(regex.find(std::string(64, 'a'), 0, scratch), Error);
}

TEST(Regex, LongRunsNeedNoStack) {
  const auto found = matches(R"(\s+(?!\S)|\s+|(?:[a-z]|[0-9])+)", std::string(200000, ' ') + std::string(20000, 'x'));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].size(), 199999u);
  EXPECT_EQ(found[2].size(), 20000u);
}

}  // namespace
}  // namespace quiver::text
