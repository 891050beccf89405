// SPDX-License-Identifier: Apache-2.0
// Plain text for terminals: tables with aligned columns, and a routing trace as coloured strips.
//
// These functions return text; whether colour is wanted (a terminal, no NO_COLOR) is the caller's to decide. Cells are
// made visible first (report_text.h), so no text can move the cursor or colour what follows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quiver/evaluation/report/report.h"
#include "quiver/evaluation/summary.h"

namespace quiver::evaluation {

enum class Emphasis { none, strong, dim };

struct TableCell {
  std::string text;
  Emphasis emphasis = Emphasis::none;
};

struct TextTable {
  std::vector<std::string> header;
  std::vector<std::vector<TableCell>> rows;  ///< a row may be shorter than the header; an empty row is a rule
};

struct TableStyle {
  bool colour = false;                ///< emphasis by ANSI sequences
  std::size_t left_columns = 1;       ///< columns aligned to the left; the others, numbers mostly, to the right
  std::size_t max_cell_columns = 48;  ///< longer cells are cut, with …
};

/// The table, each line ending in a line break. Widths are those of terminals: wide characters take two columns.
std::string render_table(const TextTable& table, const TableStyle& style = {});

/// Tasks by routes with intervals, then means over trained and held-out tasks; the best route of a row is strong, and
/// marked with * where there is no colour.
std::string render_results_text(const std::vector<ResultRow>& results, bool colour);

/// How much better each route is than the first by the tasks' headlines, with intervals of paired differences and the
/// rows won and lost; empty where no routes are compared. Differences whose interval is above or below 0 are strong.
std::string render_differences_text(const std::vector<RouteDifference>& differences, bool colour);

/// A trace: the experts with their letters and shares, then one line per token with its two strongest experts over all
/// layers and a strip of one letter per layer (neighbouring layers share one where there are more than 48).
std::string render_trace_text(const Trace& trace, bool colour);

/// Columns that a text takes in a terminal.
std::size_t terminal_width(std::string_view text);

}  // namespace quiver::evaluation
