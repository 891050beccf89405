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

bool full(const std::string& pattern, const std::string& text) {
  MatchScratch scratch;
  return Regex::python(pattern, "test").full_match(text, scratch);
}

TEST(PythonRegex, MatchesTheWholeText) {
  EXPECT_TRUE(full(".*q_proj", "layers.3.q_proj"));
  EXPECT_FALSE(full("q_proj", "layers.3.q_proj"));
  EXPECT_FALSE(full("layers", "layers.3"));
  EXPECT_TRUE(full("a|ab", "ab")) << "the whole text, not the first choice";
  EXPECT_TRUE(full(R"(model\.layers\.\d{1,2}\.(?P<part>up|down)_proj)", "model.layers.12.down_proj"));
  EXPECT_TRUE(full("^a$", "a"));
  EXPECT_TRUE(full("", ""));
  EXPECT_TRUE(full("[]a[]+", "][a")) << "a bracket at the start of a class is one of its letters";
}

TEST(PythonRegex, RefusesWhatPythonDoesNotHaveAndWhatTakesTooLong) {
  const auto code = [](const std::string& pattern, const std::string& text) {
    try {
      full(pattern, text);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::usage;
  };
  for (const char* pattern :
       {"(?R)", "(*ACCEPT)a", R"(a\Kb)", R"(\Q.\E)", "(?1)(a)", "(?|a|b)", "[[:alpha:]]", "(?P>x)"})
    EXPECT_EQ(code(pattern, "a"), ErrorCode::unsupported) << pattern;
  for (const char* pattern : {"(a", "a**", "[a", "a{2,1}"}) EXPECT_EQ(code(pattern, "a"), ErrorCode::format) << pattern;
  EXPECT_EQ(code("((a|.)*)*[!?]", "model.layers.0.self_attn.q_proj"), ErrorCode::format);
  EXPECT_EQ(code("a.*", "a\xff"), ErrorCode::format) << "not UTF-8";
}

}  // namespace
}  // namespace quiver::text
