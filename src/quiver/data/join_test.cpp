// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/join.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

using Ids = std::vector<std::int32_t>;
using Separator = JoinOptions::Separator;
constexpr std::int32_t kEos = 0;

/// One token per byte, except that ":a" is the single token 1000: a merge across the border of joint rows.
Ids bytes(std::string_view text) {
  Ids ids;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool merged = text.substr(i).starts_with(":a");
    ids.push_back(merged ? 1000 : static_cast<unsigned char>(text[i]));
    if (merged) ++i;
  }
  return ids;
}

const Encode kEncode = bytes;

TEST(Separate, NewlineClosesTheSourceOnce) {
  EXPECT_EQ(separate("a", "b", Separator::newline).source, "a\n");
  EXPECT_EQ(separate("a\n", "b", Separator::newline).source, "a\n");
  EXPECT_EQ(separate("", "b", Separator::newline).source, "");
}

TEST(Separate, MttlSpaceMovesOrAddsOneSpace) {
  const auto check = [](const char* source, const char* target, const char* new_source, const char* new_target) {
    const auto texts = separate(source, target, Separator::mttl_space);
    EXPECT_EQ(texts.source, new_source);
    EXPECT_EQ(texts.target, new_target);
  };
  check("a", "b", "a", " b");
  check("a ", "b", "a", " b");
  check("a\n", "b", "a\n", "b");
  check("a", "\nb", "a", "\nb");
  check("a  ", "b", "a ", " b");
}

TEST(Join, DefaultIsNewlineApartEosAndLossOnTheTarget) {
  const auto row = join_texts("a:", "ab", kEncode, kEos);
  EXPECT_EQ(row.ids, (Ids{'a', ':', '\n', 'a', 'b', kEos}));
  EXPECT_EQ(row.target_begin, 3);
  EXPECT_EQ(row.dropped_tokens, 0);
  EXPECT_EQ(prompt_ids("a:", kEncode), (Ids{'a', ':', '\n'}));
}

TEST(Join, ApartNeverMergesAcrossTheBorderAndJointDoes) {
  JoinOptions options;
  options.separator = Separator::none;
  EXPECT_EQ(join_texts("x:", "ab", kEncode, kEos, options).ids, (Ids{'x', ':', 'a', 'b', kEos}));
  options.tokenise = JoinOptions::Tokenise::joint;
  const auto by_target = join_texts("x:", "ab", kEncode, kEos, options);
  EXPECT_EQ(by_target.ids, (Ids{'x', 1000, 'b', kEos}));
  EXPECT_EQ(by_target.target_begin, 1);
  options.mask = JoinOptions::Mask::source_alone;
  EXPECT_EQ(join_texts("x:", "ab", kEncode, kEos, options).target_begin, 2);
}

TEST(Join, LongSourcesLoseTheirStartAndTheTargetSurvives) {
  JoinOptions options;
  options.max_tokens = 6;
  const auto row = join_texts("abcdef", "xy", kEncode, kEos, options);
  EXPECT_EQ(row.ids, (Ids{'e', 'f', '\n', 'x', 'y', kEos}));
  EXPECT_EQ(row.target_begin, 3);
  EXPECT_EQ(row.dropped_tokens, 4);
  options.truncate = JoinOptions::Truncate::right;
  EXPECT_EQ(join_texts("abcdef", "xy", kEncode, kEos, options).ids, (Ids{'a', 'b', 'c', 'x', 'y', kEos}));
}

TEST(Join, ATargetTooLongKeepsItsStartAndOneSourceToken) {
  JoinOptions options;
  options.max_tokens = 4;
  const auto row = join_texts("ab", "vwxyz", kEncode, kEos, options);
  EXPECT_EQ(row.ids, (Ids{'\n', 'v', 'w', 'x'}));
  EXPECT_EQ(row.target_begin, 1);
  EXPECT_EQ(row.dropped_tokens, 5);
}

TEST(Join, JointTruncationCutsTheRowAsOne) {
  JoinOptions options;
  options.max_tokens = 4;
  options.truncate_jointly = true;
  const auto left = join_texts("ab", "xy", kEncode, kEos, options);
  EXPECT_EQ(left.ids, (Ids{'\n', 'x', 'y', kEos}));
  EXPECT_EQ(left.target_begin, 1);
  options.truncate = JoinOptions::Truncate::right;
  const auto right = join_texts("ab", "xy", kEncode, kEos, options);
  EXPECT_EQ(right.ids, (Ids{'a', 'b', '\n', 'x'}));
  EXPECT_EQ(right.target_begin, 3);
  EXPECT_THROW(join_texts("abcdef", "xy", kEncode, kEos, options), Error);
}

TEST(Join, TheBeginTokenIsNeverCut) {
  JoinOptions options;
  options.begin_token = 7;
  options.max_tokens = 4;
  const auto row = join_texts("abc", "x", kEncode, kEos, options);
  EXPECT_EQ(row.ids, (Ids{7, '\n', 'x', kEos}));
  EXPECT_EQ(row.target_begin, 2);
  EXPECT_EQ(join_texts("", "x", kEncode, kEos, options).target_begin, 1);
  EXPECT_EQ(prompt_ids("abcdef", kEncode, options), (Ids{7, 'e', 'f', '\n'}));
}

TEST(Join, WholeSequenceLossBeginsAtTokenOne) {
  JoinOptions options;
  options.whole_sequence_loss = true;
  options.append_eos = false;
  const auto row = join_texts("ab", "x", kEncode, kEos, options);
  EXPECT_EQ(row.target_begin, 1);
  EXPECT_EQ(row.ids.back(), 'x');
}

TEST(Join, NothingToLearnIsAnError) {
  JoinOptions options;
  options.append_eos = false;
  EXPECT_THROW(join_texts("ab", "", kEncode, kEos, options), Error);
  EXPECT_THROW(join_texts("", "x", kEncode, kEos, options), Error);
  options.max_tokens = 1;
  EXPECT_THROW(join_texts("ab", "x", kEncode, kEos, options), Error);
  EXPECT_EQ(join_texts("", "x", kEncode, kEos).target_begin, 1);
}

TEST(Join, AnExampleBringsItsWeightAndMustBeRendered) {
  Example example{"s", "t", {}, {}, {}, 0.25, Split::train};
  EXPECT_EQ(join_example(example, kEncode, kEos).weight, 0.25);
  example.messages.push_back({"user", "u"});
  EXPECT_THROW(join_example(example, kEncode, kEos), Error);
}

}  // namespace
}  // namespace quiver::data
