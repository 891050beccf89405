// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/row_findings.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/data/chat_turns.h"
#include "quiver/data/join_task.h"

namespace quiver::data {
namespace {

std::vector<std::int32_t> bytes(std::string_view text) { return {text.begin(), text.end()}; }

Example example(const std::string& source, const std::string& target, std::vector<std::string> options = {}) {
  Example out;
  out.source = source;
  out.target = target;
  out.options = std::move(options);
  return out;
}

std::vector<std::size_t> all(const Task& task) { return task.rows(Split::train); }

TEST(RowFindings, NameTheFirstRowAndCount) {
  Task task{"t", "", {example("a", "b"), example("", ""), example("c", "")}};
  task.examples[2].weight = 0;
  task.examples[1].where = "t.jsonl:9";
  RowFindings findings("t", "train", 3);
  look_at_texts(task, all(task), findings);
  EXPECT_EQ(findings.json(), (nlohmann::json{{"weightless", 1}, {"empty_source", 1}, {"empty_target", 2}}));
  const auto lines = findings.lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "task t, train: 1 of 3 rows have weight 0: they count in no loss; the first is row 3");
  EXPECT_NE(lines[2].find("2 of 3 rows have an empty target"), std::string::npos) << lines[2];
  EXPECT_NE(lines[2].find("row 2 (t.jsonl:9)"), std::string::npos) << lines[2];
  EXPECT_TRUE(RowFindings("t", "train", 3).json().empty());
}

TEST(RowFindings, OptionsThatLackTheAnswer) {
  Task task{"t", "", {}};
  task.examples = {example("a", "yes", {"yes", "no"}), example("a", "Yes", {"yes", "no"}),
                   example("a", "yes", {" yes", " no"}), example("a", "free"), example("a", "x", {"yes", "no"})};
  task.examples[4].references = {"none", "no"};
  RowFindings findings("t", "test", 5);
  look_at_options(task, all(task), {}, findings);
  EXPECT_EQ(findings.json(), (nlohmann::json{{"outside_options", 1}, {"spaced_options", 1}, {"without_options", 1}}));
  EXPECT_NE(findings.lines()[1].find("row 2: 'Yes' is none of 'yes', 'no'"), std::string::npos);
  Task generated{"g", "", {example("a", "free"), example("b", "free")}};
  RowFindings none("g", "test", 2);
  look_at_options(generated, all(generated), {}, none);
  EXPECT_TRUE(none.json().empty());
  look_at_options(generated, all(generated), {"bound", "free"}, none);
  EXPECT_TRUE(none.json().empty());
  look_at_options(generated, all(generated), {"bound"}, none);
  EXPECT_EQ(none.count(RowFinding::outside_options), 2u);
}

TEST(JoinRows, CountsWhatWasCut) {
  Task task{"t", "", {example("ab", "c"), example("abcdefgh", "c"), example("a", "cdefghij")}};
  JoinOptions options;
  options.max_tokens = 6;
  const auto joined = join_rows(task, all(task), "train", bytes, 0, options);
  ASSERT_EQ(joined.rows.size(), 3u);
  for (const auto& row : joined.rows) EXPECT_LE(row.ids.size(), 6u);
  EXPECT_EQ(joined.findings.json(), (nlohmann::json{{"cut", 2}, {"target_cut", 1}}));
  EXPECT_EQ(joined.rows[1].dropped_target_tokens, 0);
  EXPECT_EQ(joined.rows[2].dropped_target_tokens, 4);
}

TEST(JoinRows, ARowWithNothingToLearnIsNamed) {
  Task task{"tea", "", {example("ab", "c"), example("abcdefgh", "c")}};
  task.examples[1].where = "tea.jsonl:7";
  JoinOptions options;
  options.max_tokens = 6;
  options.truncate_jointly = true;
  options.truncate = JoinOptions::Truncate::right;
  try {
    join_rows(task, all(task), "train", bytes, 0, options);
    ADD_FAILURE() << "expected an error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("[task tea, row 2 (tea.jsonl:7)]"), std::string::npos) << message;
    EXPECT_NE(message.find("--max-tokens"), std::string::npos) << message;
  }
}

TEST(JoinRows, AnEmptySourceBeginsWithTheStartToken) {
  JoinOptions options;
  options.start_token = 7;
  const auto row = join_texts("", "x", bytes, 0, options);
  EXPECT_EQ(row.ids, (std::vector<std::int32_t>{7, 'x', 0}));
  EXPECT_EQ(row.target_begin, 1);
  EXPECT_EQ(prompt_ids("", bytes, options), std::vector<std::int32_t>{7});
  EXPECT_EQ(join_texts("a", "x", bytes, 0, options).ids[0], 'a') << "texts begin with themselves";
  options.begin_token = 5;
  EXPECT_EQ(join_texts("", "x", bytes, 0, options).ids, (std::vector<std::int32_t>{5, 'x', 0}));
}

TEST(JoinRows, AChatIsWhatItsTemplateSays) {
  auto chat = example("<u>hi<a>", "yo");
  chat.chat_ids = {100, 'h', 'i', 101};
  JoinOptions options;
  options.begin_token = 5;
  options.turn_end_token = 102;
  EXPECT_EQ(join_example(chat, bytes, 0, options).ids, (std::vector<std::int32_t>{100, 'h', 'i', 101, 'y', 'o', 102}));
  EXPECT_EQ(prompt_ids(chat, bytes, options), chat.chat_ids);
  options.turn_end_token = -1;
  EXPECT_EQ(join_answer(chat, "z", bytes, 9, options).ids, (std::vector<std::int32_t>{100, 'h', 'i', 101, 'z', 9}));
}

TEST(LearnEveryTurn, EachTurnOfTheAssistantIsATarget) {
  Example chat;
  chat.messages = {{"assistant", "hello"}, {"user", "one?"}, {"assistant", "1"}, {"user", "two?"}};
  chat.target = "2";
  chat.options = {"2", "3"};
  chat.weight = 0.5;
  Task task{"t", "", {chat, chat}};
  task.examples[1].split = Split::test;
  learn_every_turn(task);
  ASSERT_EQ(task.examples.size(), 3u);
  EXPECT_EQ(task.examples[0].target, "1");
  EXPECT_EQ(task.examples[0].messages.size(), 2u);
  EXPECT_TRUE(task.examples[0].options.empty());
  EXPECT_EQ(task.examples[0].weight, 0.5);
  EXPECT_EQ(task.examples[1].target, "2");
  EXPECT_EQ(task.examples[1].messages.size(), 4u);
  EXPECT_EQ(task.examples[2].split, Split::test);
  EXPECT_EQ(task.examples[2].target, "2");
}

}  // namespace
}  // namespace quiver::data
