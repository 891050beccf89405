// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/evaluation/report/report_grid.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

/// A report with `text` in every place that a text can stand.
Report report_of(const std::string& text) {
  Report report;
  report.title = text;
  report.facts = {{text, text}};
  report.results = {{text, text, text, 0.5, 10, 0.4, 0.6, false}, {text + "2", text, text, 0.5, 10, 0.4, 0.6, false}};
  report.matrix = {{text}, {text, text}, {{0.25, 1}}};
  report.clustering = {{text, text}, {0, 1}, {{1, 0.2}, {0.2, 1}}, {{{0, 0}}, {{1, 1}}}};
  report.traces = {{text, {text, text}, {text}, {text}, {{{{0, 0.5}}, {}}}}};
  return report;
}

TEST(ReportText, EscapesMarkupAndControlCharacters) {
  EXPECT_EQ(escape_html("<a href='x\">&"), "&lt;a href=&#39;x&quot;&gt;&amp;");
  EXPECT_EQ(visible_text("a\n\t\x01\x7f\xff"), "a⏎⇥\\x01\\x7F\\xFF");
  EXPECT_EQ(visible_text("\xF0\x9F\x98\x80 é"), "\xF0\x9F\x98\x80 é");
  EXPECT_EQ(visible_text("\xF0\x9F"), "\\xF0\\x9F");
  EXPECT_EQ(visible_text("\xE2\x80\xAE"), "\\u202E");
  EXPECT_EQ(visible_token(" a "), "␣a␣");
  EXPECT_EQ(visible_token(""), "∅");
}

TEST(ReportText, NumbersAndLengths) {
  EXPECT_EQ(format_percent(0.8423), "84.2");
  EXPECT_EQ(format_percent(std::numeric_limits<double>::quiet_NaN()), "–");
  EXPECT_EQ(format_number(12.345), "12.35");
  EXPECT_EQ(format_number(1234.5), "1234");
  EXPECT_EQ(format_number(0.01234), "0.0123");
  EXPECT_EQ(shorten("abc", 3), "abc");
  EXPECT_EQ(shorten("abcd", 3), "ab…");
  EXPECT_EQ(shorten("ééé", 2), "é…");
}

TEST(ReportGrid, SortsHeldOutTasksLastAndMarksTheBest) {
  const std::vector<ResultRow> rows = {
      {"h", "x", "accuracy", 0.2, 5, 0.1, 0.3, true},      {"a", "x", "accuracy", 0.5, 10, 0.4, 0.7, false},
      {"a", "y", "accuracy", 0.5, 10, 0.4, 0.6, false},    {"b", "x", "exact match", 0.3, 10, 0.2, 0.5, false},
      {"b", "y", "exact match", 0.9, 10, 0.8, 1.0, false}, {"p", "x", "perplexity", 12, 10, 11, 13, false},
      {"p", "y", "perplexity", 15, 10, 14, 16, false}};
  const auto grid = make_result_grid(rows);
  EXPECT_EQ(grid.routes, (std::vector<std::string>{"x", "y"}));
  ASSERT_EQ(grid.lines.size(), 4u);
  EXPECT_EQ(grid.lines.back().name, "h");
  EXPECT_TRUE(grid.lines[0].cells[0]->best && grid.lines[0].cells[1]->best);
  EXPECT_TRUE(grid.lines[2].cells[0]->best);
  EXPECT_FALSE(grid.lines[3].cells[1].has_value());
  // Only shares have two tasks; h is incomplete and perplexity alone.
  ASSERT_EQ(grid.means.size(), 1u);
  EXPECT_EQ(grid.means[0].name, "mean of 2 trained tasks");
  EXPECT_EQ(grid.means[0].metric, "accuracy, exact match");
  EXPECT_NEAR(grid.means[0].cells[0]->value, 0.4, 1e-12);
  EXPECT_NEAR(grid.means[0].cells[0]->high - 0.4, std::hypot(0.2, 0.2) / 2, 1e-12);
}

TEST(ReportGrid, ATaskCountsOnceInAMeanByTheMetricItAskedFor) {
  const std::vector<ResultRow> rows = {{"a", "x", "pearson", 0.4, 5, 0.4, 0.4, false},
                                       {"a", "x", "spearman", 0.6, 5, 0.6, 0.6, false},
                                       {"a", "x", "exact_match", 0.1, 5, 0.1, 0.1, false},
                                       {"b", "x", "exact_match", 0.8, 5, 0.8, 0.8, false}};
  const auto grid = make_result_grid(rows);
  ASSERT_EQ(grid.means.size(), 1u);
  EXPECT_EQ(grid.means[0].name, "mean of 2 trained tasks");
  EXPECT_EQ(grid.means[0].metric, "pearson, exact_match");
  EXPECT_NEAR(grid.means[0].cells[0]->value, 0.6, 1e-12);
}

TEST(Report, NothingOfATextBecomesMarkup) {
  for (const std::string attack : {"</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><b>",
                                   "' onclick='a", "--><!--", "\\\"]}<", "</title><h1>", "\xff\x01"}) {
    const auto page = render_report(report_of(attack));
    // As long as the attack, so that labels find the same places.
    const auto plain = render_report(report_of(std::string(visible_text(attack).size(), 'x')));
    EXPECT_EQ(count_of(page, "<"), count_of(plain, "<")) << attack;
    EXPECT_EQ(count_of(page, ">"), count_of(plain, ">")) << attack;
    EXPECT_EQ(count_of(page, "\""), count_of(plain, "\"")) << attack;
    EXPECT_FALSE(has(page, attack)) << attack;
  }
}

TEST(Report, NeedsNothingFromOutside) {
  const auto page = render_report(report_of("x"));
  for (const auto* part : {"http:", "https:", "src=", "@import", "url(", "<link"})
    EXPECT_FALSE(has(page, part)) << part;
  EXPECT_TRUE(has(page, "default-src 'none'"));
  EXPECT_TRUE(has(page, "prefers-color-scheme:dark"));
  EXPECT_TRUE(has(page, "width=device-width"));
}

TEST(Report, EmptyPartsAreLeftOut) {
  Report report;
  report.title = "nothing";
  const auto page = render_report(report);
  EXPECT_FALSE(has(page, "<section>"));
  EXPECT_FALSE(has(page, "<svg"));
  report.traces.push_back({"t", {"a"}, {}, {}, {}});
  EXPECT_EQ(count_of(render_report(report), "<section>"), 1u);
}

TEST(Report, SharesArePercentAndPerplexityIsANumber) {
  Report report;
  report.results = {{"a", "base", "accuracy", 0.4213, 10, 0.4, 0.5, false},
                    {"b", "base", "perplexity", 17.25, 10, 16, 18, false}};
  const auto page = render_report(report);
  EXPECT_TRUE(has(page, "42.1 ★<small>[40.0, 50.0]"));
  EXPECT_TRUE(has(page, "17.25 ★<small>[16.00, 18.00]"));
  EXPECT_TRUE(has(page, "perplexity (lower is better)"));
}

TEST(Report, ATraceCellCarriesAllItsExperts) {
  Report report;
  report.traces = {{"t", {"a"}, {"layer"}, {"x", "y"}, {{{{0, 0.25}, {1, 0.75}}}}}};
  const auto page = render_report(report);
  EXPECT_TRUE(has(page, "data-w=\"1 0.75;0 0.25\""));
  EXPECT_TRUE(has(page, "data-experts=\"[&quot;x&quot;,&quot;y&quot;]\""));
}

TEST(Report, UnknownValuesAreShownAsADash) {
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  Report report;
  report.results = {{"a", "base", "accuracy", unknown, 0, unknown, unknown, false}};
  report.matrix = {{"e"}, {"t"}, {{unknown}}};
  const auto page = render_report(report);
  EXPECT_FALSE(has(page, "nan"));
  EXPECT_TRUE(has(page, "–"));
}

TEST(Report, SizesThatDoNotAgreeAreErrors) {
  const auto fails = [](auto damage) {
    auto report = report_of("x");
    damage(report);
    EXPECT_THROW(render_report(report), Error);
  };
  fails([](Report& r) { r.matrix.values.clear(); });
  fails([](Report& r) { r.matrix.values[0].pop_back(); });
  fails([](Report& r) { r.clustering.cluster.pop_back(); });
  fails([](Report& r) { r.clustering.positions.pop_back(); });
  fails([](Report& r) { r.clustering.similarity.pop_back(); });
  fails([](Report& r) { r.traces[0].weights[0].pop_back(); });
  fails([](Report& r) { r.traces[0].weights[0][0][0].expert = 1; });
}

TEST(Report, IsTheSameForTheSameInput) { EXPECT_EQ(render_report(report_of("x")), render_report(report_of("x"))); }

}  // namespace
}  // namespace quiver::evaluation
