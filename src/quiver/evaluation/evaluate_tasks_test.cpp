// SPDX-License-Identifier: Apache-2.0
// Rows that are not as they should be, and tasks that cannot be scored.
#include "quiver/evaluation/evaluate_tasks.h"
#include "quiver/base/error.h"
#include "quiver/evaluation/test_evaluation.h"

namespace quiver::evaluation {
namespace {

TEST_F(TinyEvaluation, WhatCannotBeScoredIsRefused) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("ab", "cd")};
  task_.examples[0].split = data::Split::train;
  EXPECT_THROW(evaluated(base), Error) << "no rows of the test split";
  task_.examples[0].split = data::Split::test;
  task_.examples[0].options = {"cd", ""};
  EvaluateOptions options;
  options.join.append_eos = false;
  EXPECT_THROW(evaluated(base, options), Error) << "an option without tokens, and no end to score";
}

TEST_F(TinyEvaluation, AnEmptyOptionIsScoredByItsEnd) {
  task_.examples = {row("ab", "", {"cd", ""})};
  const routing::ConstantRouter base(bank_, {});
  const auto got = evaluated(base);
  const auto prompt = prompt_of(task_.examples[0]);
  auto full = tokenizer_.encode("cd");
  full.push_back(kEnd);
  const bool empty_wins = log_likelihood(prompt, {kEnd}, base) > log_likelihood(prompt, full, base) / 3.0;
  EXPECT_EQ(got.samples[0].prediction, empty_wins ? "" : "cd");
  EXPECT_EQ(got.samples[0].scores.at("target_tokens"), 1.0);
}

TEST_F(TinyEvaluation, RowsWithAndWithoutOptionsAreScoredByExactMatch) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("ab", "yes", {"yes", "no"}), row("cd", "zzz")};
  EvaluateOptions options;
  options.max_new_tokens = 3;
  const auto got = evaluated(base, options);
  EXPECT_EQ(headline(got).metric, "exact_match");
  EXPECT_EQ(headline(got).count, 2u);
  EXPECT_EQ(got.samples[0].scores.at("exact_match"), got.samples[0].prediction == "yes" ? 1.0 : 0.0);
  EXPECT_EQ(got.findings.count(data::RowFinding::without_options), 1u);
}

TEST_F(TinyEvaluation, WhiteSpaceAtTheEndsOfOptionsAndAnswersIsPassedOver) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("ab", "yes", {"yes "})};
  EXPECT_EQ(headline(evaluated(base)).value, 1.0);
  task_.examples = {row("ab", "Yes", {"yes"})};
  const auto got = evaluated(base);
  EXPECT_EQ(headline(got).value, 0.0);
  EXPECT_EQ(got.findings.count(data::RowFinding::outside_options), 1u);
}

TEST_F(TinyEvaluation, AnswersOfSeveralLinesEndWhereTheModelEndsThem) {
  constexpr std::int64_t kMaxTokens = 16;
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}});
  EvaluateOptions options;
  options.max_new_tokens = kMaxTokens;
  for (int i = 0; i < 48; ++i) task_.examples.push_back(row(words(1 + i % 7), i == 0 ? "a\nb" : "c"));
  const auto got = evaluated(expert, options);
  int broken = 0;
  for (std::size_t i = 0; i < 48; ++i) {
    Ids ids = prompt_of(task_.examples[i]), answer;
    while (static_cast<std::int64_t>(answer.size()) < kMaxTokens) {
      const auto next = next_log_probabilities(ids, expert);
      ids.push_back(static_cast<std::int32_t>(std::max_element(next.begin(), next.end()) - next.begin()));
      if (ids.back() == kEnd) break;
      answer.push_back(ids.back());
    }
    const auto text = trim(tokenizer_.decode(answer));
    broken += text.find('\n') != std::string::npos;
    EXPECT_EQ(got.samples[i].prediction, text) << "row " << i;
  }
  EXPECT_GT(broken, 0) << "or the test could not tell the two rules apart";
}

TEST_F(TinyEvaluation, EmptySourcesAndTargetsAreScoredAsTheyAreLearned) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("", "cd"), row("ab", "")};
  EvaluateOptions options;
  options.join.start_token = kEnd;
  options.max_new_tokens = 2;
  const auto got = evaluated(base, options);
  auto answer = tokenizer_.encode("cd");
  answer.push_back(kEnd);
  EXPECT_NEAR(got.samples[0].scores.at("target_log_likelihood"), log_likelihood({kEnd}, answer, base), kNear);
  EXPECT_EQ(got.samples[0].prediction, greedy_line({kEnd}, 2, base).text);
  EXPECT_NEAR(got.samples[1].scores.at("target_log_likelihood"),
              log_likelihood(prompt_of(task_.examples[1]), {kEnd}, base), kNear);
  EXPECT_EQ(got.findings.count(data::RowFinding::empty_source), 1u);
  EXPECT_EQ(got.findings.count(data::RowFinding::empty_target), 1u);
}

TEST_F(TinyEvaluation, PerplexityWeighsRowsAsTrainingDoes) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("ab", "cd"), row("ef", "ghi"), row("k", "lm")};
  task_.examples[0].weight = 0;
  task_.examples[1].weight = 3;
  const auto got = evaluated(base);
  double loss = 0.0, tokens = 0.0;
  for (std::size_t i = 1; i < 3; ++i) {
    loss -= task_.examples[i].weight * got.samples[i].scores.at("target_log_likelihood");
    tokens += task_.examples[i].weight * got.samples[i].scores.at("target_tokens");
  }
  EXPECT_NEAR(std::log(result(got, "perplexity").value), loss / tokens, 1e-9);
  EXPECT_EQ(got.findings.count(data::RowFinding::weightless), 1u);
}

TEST_F(TinyEvaluation, PromptsKeepRoomForTheirAnswers) {
  const routing::ConstantRouter base(bank_, {});
  constexpr std::int64_t kContext = 24, kAnswer = 10;
  EvaluateOptions options;
  options.vectors_before = model_.config().max_positions - kContext;
  options.max_new_tokens = kAnswer;
  task_.examples = {row(std::string(60, 'x'), "a"), row("ab", "a")};
  const auto got = evaluated(base, options);
  EXPECT_EQ(got.samples[0].scores.at("target_tokens"), 2.0);
  EXPECT_EQ(got.findings.count(data::RowFinding::cut), 1u);
  EXPECT_EQ(got.findings.count(data::RowFinding::prompt_cut), 1u);
  const auto rules = data::JoinOptions{.max_tokens = kContext - kAnswer};
  const auto encode = [&](std::string_view text) { return tokenizer_.encode(text); };
  const auto prompt = data::prompt_ids(task_.examples[0].source, encode, rules);
  EXPECT_EQ(got.samples[0].prediction, greedy_line(prompt, kAnswer, base).text);
}

TEST_F(TinyEvaluation, ARowThatCannotBeJoinedIsLeftOut) {
  const routing::ConstantRouter base(bank_, {});
  EvaluateOptions options;
  options.join.append_eos = false;
  task_.examples = {row("ab", "cd"), row("ab", "")};
  const auto got = evaluated(base, options);
  EXPECT_EQ(got.samples.size(), 1u);
  EXPECT_EQ(got.findings.count(data::RowFinding::left_out), 1u);
  EXPECT_NE(got.findings.lines().back().find("row 2"), std::string::npos) << got.findings.lines().back();
}

TEST_F(TinyEvaluation, ABadTaskDoesNotLoseTheOthers) {
  const routing::ConstantRouter base(bank_, {}), expert(bank_, {{0, 1.0f}});
  std::vector<data::Task> tasks(4);
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    tasks[t].name = fmt::format("task{}", t);
    tasks[t].examples = {row("ab", "yes", {"yes", "no"}), row("cd", "no", {"yes", "no"})};
  }
  tasks[1].metrics = {"acuracy"};
  tasks[2].examples[0].split = tasks[2].examples[1].split = data::Split::train;
  class Told : public SilentProgress {
   public:
    void say(const std::string& line) override { lines.push_back(line); }
    std::vector<std::string> lines;
  } told;
  int scored = 0, compared = 0;
  TasksObserver observer;
  observer.on_result = [&](const Evaluation&) {
    EXPECT_EQ(told.lines.size(), 2u) << "problems are said first";
    ++scored;
  };
  observer.on_difference = [&](const RouteDifference& d) {
    EXPECT_EQ(d.against, "base");
    compared += d.headline;
  };
  const auto found =
      evaluate_tasks({model_, tokenizer_, told}, tasks, {{"base", &base, {}}, {"own", &expert, {}}}, observer);
  EXPECT_EQ(scored, 4);
  EXPECT_EQ(compared, 2);
  ASSERT_EQ(found.failures.size(), 2u);
  EXPECT_NE(found.failures[0].line().find("task task1: unknown metric 'acuracy'; did you mean 'accuracy'"),
            std::string::npos)
      << found.failures[0].line();
  EXPECT_NE(found.failures[1].line().find("task task2: no rows of split 'test'; there are train (2)"),
            std::string::npos);
}

/// Fails as LibTorch does, with a stack of calls.
class FailingRouter : public routing::Router {
 public:
  std::unique_ptr<routing::Sessions> sessions() const override {
    throw std::runtime_error("out of memory\nframe #0: somewhere");
  }
};

TEST_F(TinyEvaluation, WhateverATaskFailsOfTheOthersAreScored) {
  const routing::ConstantRouter base(bank_, {});
  const FailingRouter failing;
  std::vector<data::Task> tasks(2);
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    tasks[t].name = fmt::format("task{}", t);
    tasks[t].examples = {row("ab", "yes", {"yes", "no"})};
  }
  SilentProgress silent;
  const auto found =
      evaluate_tasks({model_, tokenizer_, silent}, tasks, {{"failing", &failing, {}}, {"base", &base, {}}}, {});
  ASSERT_EQ(found.failures.size(), 2u);
  EXPECT_EQ(found.failures[0].line(), "task task0 under failing: out of memory");
  EXPECT_TRUE(std::any_of(found.results.begin(), found.results.end(), [](const auto& r) { return r.task == "task1"; }));
  TasksObserver full_disk;
  full_disk.on_result = [](const Evaluation&) { quiver::fail(ErrorCode::io, "samples", "cannot write"); };
  EXPECT_THROW(evaluate_tasks({model_, tokenizer_, silent}, tasks, {{"base", &base, {}}}, full_disk), Error)
      << "no failure of the task";
}

TEST_F(TinyEvaluation, RoutesThatScoreOtherRowsAreNotCompared) {
  const routing::ConstantRouter base(bank_, {});
  std::vector<data::Task> tasks(1);
  tasks[0].name = "t";
  tasks[0].examples = {row("", "ab"), row("cd", ""), row("ef", "gh")};
  RouteInUse without_empty_targets{"first", &base, {}}, without_empty_sources{"second", &base, {}};
  without_empty_targets.options.join.append_eos = false;
  without_empty_targets.options.join.start_token = kEnd;
  for (auto* route : {&without_empty_targets, &without_empty_sources}) route->options.max_new_tokens = 2;
  SilentProgress silent;
  const auto found =
      evaluate_tasks({model_, tokenizer_, silent}, tasks, {without_empty_targets, without_empty_sources}, {});
  EXPECT_EQ(found.failures.size(), 2u);
  for (const auto& result : found.results) EXPECT_EQ(result.count, 2u);
  EXPECT_TRUE(found.differences.empty());
}

TEST_F(TinyEvaluation, TheFirstMetricOfATaskIsItsHeadline) {
  const routing::ConstantRouter base(bank_, {});
  task_.examples = {row("ab", "yes")};
  EvaluateOptions options;
  options.max_new_tokens = 2;
  for (const auto* metric : {"rouge_l", "exact_match", "accuracy", "squad_f1"}) {
    task_.metrics = {metric};
    const auto got = evaluated(base, options);
    EXPECT_EQ(headline(got).metric, metric);
    const auto times =
        std::count_if(got.results.begin(), got.results.end(), [&](const auto& row) { return row.metric == metric; });
    EXPECT_EQ(times, 1) << metric;
  }
}

}  // namespace
}  // namespace quiver::evaluation
