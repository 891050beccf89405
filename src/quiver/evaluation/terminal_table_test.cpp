// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/terminal_table.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::evaluation {
namespace {

TEST(TerminalTable, AlignsColumnsByWhatATerminalShows) {
  TextTable table;
  table.header = {"task", "score"};
  table.rows = {{{"é"}, {"1.0"}}, {}, {{"日本"}, {"12.5"}}, {{"plain"}}};
  EXPECT_EQ(render_table(table),
            "task   score\n"
            "────────────\n"
            "é        1.0\n"
            "────────────\n"
            "日本    12.5\n"
            "plain\n");
}

TEST(TerminalTable, CellsCannotSendControlSequences) {
  TextTable table;
  table.header = {"\x1b[31mred\n"};
  table.rows = {{{"a\tb\xff"}}};
  const auto text = render_table(table);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("\\x1B[31mred⏎"), std::string::npos);
  EXPECT_NE(text.find("a⇥b\\xFF"), std::string::npos);
}

TEST(TerminalTable, ColourIsTheCallersChoice) {
  TextTable table;
  table.rows = {{{"best", Emphasis::strong}}};
  EXPECT_EQ(render_table(table).find('\x1b'), std::string::npos);
  EXPECT_NE(render_table(table, {.colour = true}).find("\x1b[1;32mbest\x1b[0m"), std::string::npos);
}

TEST(TerminalTable, LongCellsAreCut) {
  TextTable table;
  table.rows = {{{std::string(100, 'x')}}};
  EXPECT_NE(render_table(table, {.max_cell_columns = 5}).find("\nxxxx…\n"), std::string::npos);
}

TEST(ResultsText, MarksTheBestAndAddsMeans) {
  const std::vector<ResultRow> rows = {{"a", "base", "accuracy", 0.5, 10, 0.4, 0.6, false},
                                       {"a", "arrow", "accuracy", 0.75, 10, 0.7, 0.8, false},
                                       {"c", "base", "accuracy", 0.25, 10, 0.2, 0.3, false},
                                       {"c", "arrow", "accuracy", 0.25, 10, 0.2, 0.3, false},
                                       {"b", "base", "accuracy", 0.25, 10, 0.2, 0.3, true}};
  const auto text = render_results_text(rows, false);
  EXPECT_NE(text.find("*75.0 [70.0, 80.0]"), std::string::npos) << text;
  EXPECT_NE(text.find("mean of 2 trained tasks"), std::string::npos) << text;
  EXPECT_NE(text.find("–"), std::string::npos) << text;
}

Trace small_trace() {
  return {
      "t", {"The", " cat"}, {"layer 0", "layer 1"}, {"x", "y"}, {{{{1, 0.75}, {0, 0.25}}, {{1, 1}}}, {{{0, 1}}, {}}}};
}

TEST(TraceText, ShowsAStripAndTheStrongestExpertsOfEachToken) {
  EXPECT_EQ(render_trace_text(small_trace(), false),
            "t\n"
            "  A  44 % y\n"
            "  B  31 % x\n"
            "  strip: layer 0 to layer 1\n"
            "The                  AB   62 % x                          38 % y\n"
            "␣cat                 A·   50 % y\n");
  EXPECT_NE(render_trace_text(small_trace(), true).find("\x1b[97;48;5;25mA\x1b[0m"), std::string::npos);
}

TEST(TraceText, ManyLayersShareColumns) {
  Trace trace{"", {"a"}, {}, {"x"}, {}};
  for (int i = 0; i < 210; ++i) {
    trace.layers.push_back("l");
    trace.weights.push_back({{{0, 1}}});
  }
  EXPECT_NE(render_trace_text(trace, false).find(std::string(48, 'A') + " "), std::string::npos);
}

TEST(TraceText, SizesThatDoNotAgreeAreErrors) {
  auto trace = small_trace();
  trace.weights[0][0][0].expert = 9;
  EXPECT_THROW(render_trace_text(trace, false), Error);
  trace = small_trace();
  trace.weights.pop_back();
  EXPECT_THROW(render_trace_text(trace, false), Error);
  trace = small_trace();
  trace.tokens.push_back("more");
  EXPECT_THROW(render_trace_text(trace, false), Error);
}

}  // namespace
}  // namespace quiver::evaluation
