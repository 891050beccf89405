// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/task_metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/files.h"

namespace quiver::evaluation {
namespace {

using nlohmann::json;

/// Sums of at most 101 terms of a size of at most 5000, in double, may be formed in another order: far below this.
constexpr double kNear = 1e-12;

json golden() { return json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/metrics.json")); }

std::vector<Answered> rows_of(const json& test) {
  std::vector<Answered> rows;
  for (std::size_t i = 0; i < test["targets"].size(); ++i) {
    Answered row;
    row.prediction = test["predictions"][i];
    row.target = test["targets"][i];
    row.references = {row.target};
    if (test.contains("groups")) row.group = test["groups"][i];
    rows.push_back(row);
  }
  return rows;
}

double value_of(std::string_view name, const std::vector<Answered>& rows) {
  const auto interval = interval_of(measure(name, rows, "test"), {.resamples = 200});
  EXPECT_LE(interval.low, interval.high);
  return interval.mean;
}

void expect_golden(const char* cases, const std::vector<const char*>& metrics, std::size_t at_least) {
  const auto tests = golden()[cases];
  ASSERT_GE(tests.size(), at_least);
  for (const auto& test : tests) {
    for (const auto* metric : metrics)
      EXPECT_NEAR(value_of(metric, rows_of(test)), test[metric].get<double>(), kNear) << metric << " of " << test;
  }
}

TEST(TaskMetrics, MatthewsEqualsScikitLearns) { expect_golden("matthews", {"matthews"}, 6); }

TEST(TaskMetrics, CorrelationsEqualScipys) { expect_golden("scores", {"pearson", "spearman"}, 4); }

TEST(TaskMetrics, F1OverAnswersAndGroups) { expect_golden("groups", {"true_f1", "group_em"}, 2); }

TEST(TaskMetrics, SquadsFollowTheirDefinition) {
  const auto tests = golden()["squad"];
  ASSERT_GE(tests.size(), 30u);
  for (const auto& test : tests) {
    const std::vector<Answered> rows{{test["prediction"], "", test["references"], ""}};
    EXPECT_EQ(value_of("squad_em", rows), test["em"].get<double>()) << test;
    EXPECT_NEAR(value_of("squad_f1", rows), test["f1"].get<double>(), kNear) << test;
  }
}

TEST(TaskMetrics, ByHand) {
  // 2 of 3 right; the stray answer is a third class: (2 * 3 - (1*1 + 2*1)) / sqrt((9 - (1+1+1)) (9 - (4+1)))
  const std::vector<Answered> labels{{"yes", "yes", {}, ""}, {"no", "no", {}, ""}, {"y", "no", {}, ""}};
  EXPECT_NEAR(value_of("matthews", labels), 3 / std::sqrt(6.0 * 4.0), kNear);
  // 1 2 3 against 1 3 2: ranks correlate by 1/2, and what is no number is -1.
  EXPECT_NEAR(value_of("spearman", {{"1", "1", {}, ""}, {"2", "3", {}, ""}, {"3", "2", {}, ""}}), 0.5, kNear);
  EXPECT_NEAR(value_of("pearson", {{"x", "-1", {}, ""}, {" 2.5 ", "2.5", {}, ""}}), 1, kNear);
  // One of the two true answers found, the stray one counts as False: precision 1, recall 1/2.
  const std::vector<Answered> answers{{"True", "True", {}, "7"},
                                      {"perhaps", "True", {}, "7"},
                                      {"False", "False", {}, "8"},
                                      {"False", "False", {}, "8"}};
  EXPECT_NEAR(value_of("true_f1", answers), 2.0 / 3, kNear);
  EXPECT_EQ(value_of("group_em", answers), 0.5);
}

TEST(TaskMetrics, GroupsAreResampledWhole) {
  std::vector<Answered> rows;
  for (int group = 0; group < 10; ++group) {
    for (int i = 0; i < 50; ++i) rows.push_back({group % 2 == 0 ? "True" : "False", "True", {}, std::to_string(group)});
  }
  const auto interval = interval_of(measure("group_em", rows, "test"), {});
  EXPECT_EQ(interval.mean, 0.5);
  // Ten groups: a standard deviation of 0.16. Over 500 rows it would be 0.02.
  EXPECT_GT(interval.high - interval.low, 0.4);
}

TEST(TaskMetrics, AnswersAreComparedWithoutWhiteSpaceAtTheirEnds) {
  const std::vector<Answered> rows{{"True", "True ", {"True "}, "1"}, {"False", "\nFalse", {"\nFalse"}, "2"}};
  for (const auto* name :
       {"exact_match", "accuracy", "rouge_l", "squad_em", "squad_f1", "true_f1", "group_em", "matthews"})
    EXPECT_NEAR(value_of(name, rows), 1.0, kNear) << name;
  EXPECT_EQ(value_of("exact_match", {{"a b", "x", {"y", " a b"}, ""}}), 1.0);
  EXPECT_EQ(value_of("rouge_l", {{"a b", "x", {"y", "b"}, ""}}), 2.0 / 3);
  EXPECT_EQ(value_of("squad_f1", {{"", "", {""}, ""}, {"a word", "", {""}, ""}}), 0.5);
}

TEST(TaskMetrics, DifferencesArePaired) {
  std::vector<Answered> first, second;
  for (int i = 0; i < 40; ++i) {
    const std::string target = i % 2 == 0 ? "True" : "False";
    first.push_back({target, target, {target}, ""});
    second.push_back({i % 4 == 0 ? "False" : target, target, {target}, ""});
  }
  for (const auto* name : {"exact_match", "matthews", "true_f1"}) {
    const auto a = measure(name, first, "test"), b = measure(name, second, "test");
    const auto difference = difference_of(a, b, {.resamples = 200});
    EXPECT_NEAR(difference.difference.mean, interval_of(a, {}).mean - interval_of(b, {}).mean, kNear) << name;
    EXPECT_GT(difference.difference.low, 0) << name;
    EXPECT_EQ(difference_of(a, a, {.resamples = 200}).difference.high, 0) << "pairs are drawn together";
  }
  const auto rows = difference_of(measure("exact_match", first, "test"), measure("exact_match", second, "test"), {});
  EXPECT_EQ(rows.wins, 10u);
  EXPECT_EQ(rows.losses, 0u);
  EXPECT_THROW(difference_of(measure("matthews", first, "t"), measure("matthews", {second[0]}, "t"), {}), Error);
}

TEST(TaskMetrics, UnknownNamesAndNoRowsAreErrors) {
  EXPECT_TRUE(is_task_metric("pearson"));
  EXPECT_TRUE(is_task_metric("rouge_l"));
  EXPECT_FALSE(is_task_metric("perplexity"));
  EXPECT_THROW(measure("matthew", {{"a", "a", {}, ""}}, "test"), Error);
  EXPECT_THROW(measure("matthews", {}, "test"), Error);
}

}  // namespace
}  // namespace quiver::evaluation
