// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/terminal_table.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

#include "quiver/evaluation/report/report_grid.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

constexpr std::string_view kGap = "  ";

std::string emphasised(const std::string& text, Emphasis emphasis, bool colour) {
  if (!colour || emphasis == Emphasis::none || text.empty()) return text;
  return fmt::format("\x1b[{}m{}\x1b[0m", emphasis == Emphasis::strong ? "1;32" : "2", text);
}

std::string aligned(const TableCell& cell, std::size_t width, bool left, bool colour) {
  const auto used = terminal_width(cell.text);
  const std::string padding(width > used ? width - used : 0, ' ');
  const auto text = emphasised(cell.text, cell.emphasis, colour);
  return left ? text + padding : padding + text;
}

std::string line_of(const std::vector<TableCell>& cells, const std::vector<std::size_t>& widths,
                    const TableStyle& style) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i) line += kGap;
    line += aligned(cells[i], widths[i], i < style.left_columns, style.colour);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::vector<TableCell> visible_cells(const std::vector<TableCell>& cells, const TableStyle& style) {
  std::vector<TableCell> visible;
  for (const auto& cell : cells) {
    visible.push_back({shorten(visible_text(cell.text), style.max_cell_columns), cell.emphasis});
  }
  return visible;
}

std::vector<std::size_t> column_widths(const std::vector<std::vector<TableCell>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], terminal_width(row[i].text));
  }
  return widths;
}

std::vector<TableCell> result_cells(const GridLine& line, bool colour) {
  std::vector<TableCell> cells = {{line.name}, {line.metric, Emphasis::dim}};
  for (const auto& cell : line.cells) {
    if (!cell) {
      cells.push_back({"–", Emphasis::dim});
      continue;
    }
    const auto text =
        fmt::format("{}{} [{}, {}]", cell->best && !colour ? "*" : "", format_value(cell->value, line.kind),
                    format_value(cell->low, line.kind), format_value(cell->high, line.kind));
    cells.push_back({text, cell->best ? Emphasis::strong : Emphasis::none});
  }
  return cells;
}

}  // namespace

std::size_t terminal_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    utf8proc_int32_t value = -1;
    const auto read = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &value);
    width += read > 0 ? static_cast<std::size_t>(std::max(0, utf8proc_charwidth(value))) : 1;
    text.remove_prefix(read > 0 ? static_cast<std::size_t>(read) : 1);
  }
  return width;
}

std::string render_table(const TextTable& table, const TableStyle& style) {
  std::vector<TableCell> header;
  for (const auto& name : table.header) header.push_back({name, Emphasis::dim});
  std::vector<std::vector<TableCell>> rows = {visible_cells(header, style)};
  for (const auto& row : table.rows) rows.push_back(visible_cells(row, style));

  const auto widths = column_widths(rows);
  std::size_t total = 0;
  for (const auto width : widths) total += width + kGap.size();
  std::string rule;
  for (std::size_t i = kGap.size(); i < total; ++i) rule += "─";
  rule = emphasised(rule, Emphasis::dim, style.colour) + "\n";

  std::string out = line_of(rows[0], widths, style) + rule;
  for (std::size_t i = 1; i < rows.size(); ++i) out += rows[i].empty() ? rule : line_of(rows[i], widths, style);
  return out;
}

std::string render_results_text(const std::vector<ResultRow>& results, bool colour) {
  const auto grid = make_result_grid(results);
  TextTable table;
  table.header = {"task", "metric"};
  table.header.insert(table.header.end(), grid.routes.begin(), grid.routes.end());
  bool held_out = false;
  for (const auto& line : grid.lines) {
    if (line.held_out && !held_out && !table.rows.empty()) table.rows.emplace_back();
    held_out = line.held_out;
    table.rows.push_back(result_cells(line, colour));
  }
  if (!grid.means.empty()) table.rows.emplace_back();
  for (const auto& line : grid.means) table.rows.push_back(result_cells(line, colour));
  return render_table(table, {.colour = colour, .left_columns = 2});
}

std::string render_differences_text(const std::vector<RouteDifference>& differences, bool colour) {
  TextTable table{{"task", "metric", "route", "better than", "by", "rows won, lost", "p"}, {}};
  for (const auto& d : differences) {
    if (!d.headline) continue;
    const auto kind = metric_kind(d.metric);
    const auto& interval = d.difference.difference;
    const bool sure = interval.low > 0 || interval.high < 0;
    const auto by = fmt::format("{}{} [{}, {}]", sure && !colour ? "*" : "", format_value(interval.mean, kind),
                                format_value(interval.low, kind), format_value(interval.high, kind));
    table.rows.push_back({{d.task},
                          {d.metric, Emphasis::dim},
                          {d.route},
                          {d.against},
                          {by, sure ? Emphasis::strong : Emphasis::none},
                          {d.by_rows ? fmt::format("{}, {}", d.difference.wins, d.difference.losses) : "–"},
                          {d.by_rows ? fmt::format("{:.3f}", d.difference.sign_test_p) : "–"}});
  }
  if (table.rows.empty()) return "";
  return render_table(table, {.colour = colour, .left_columns = 4});
}

}  // namespace quiver::evaluation
