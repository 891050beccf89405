// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_results.h"

#include <fmt/format.h>

#include <algorithm>

#include "quiver/evaluation/report/report_grid.h"
#include "quiver/evaluation/report/report_plot.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

std::string unit(const MetricKind& kind) { return kind.share ? " %" : ""; }

std::string render_headline(const GridLine& line, const std::vector<std::string>& routes) {
  for (std::size_t route = 0; route < line.cells.size(); ++route) {
    const auto& cell = line.cells[route];
    if (!cell || !cell->best) continue;
    return fmt::format("<div><span>best on the {}</span><b>{}{}</b><span>{} · {} · [{}, {}]</span></div>\n",
                       escape_html(line.name), format_value(cell->value, line.kind), unit(line.kind),
                       escape_html(routes[route]), escape_html(line.metric), format_value(cell->low, line.kind),
                       format_value(cell->high, line.kind));
  }
  return "";
}

std::string render_cell(const std::optional<GridCell>& cell, const MetricKind& kind) {
  if (!cell) return "<td>–</td>";
  return fmt::format("<td{}>{}{}<small>[{}, {}]</small></td>", cell->best ? " class=\"best\"" : "",
                     format_value(cell->value, kind), cell->best ? " ★" : "", format_value(cell->low, kind),
                     format_value(cell->high, kind));
}

std::size_t rows_of(const GridLine& line) {
  std::size_t most = 0;
  for (const auto& cell : line.cells) most = std::max(most, cell ? cell->count : 0);
  return most;
}

std::string render_line(const GridLine& line) {
  auto out = fmt::format("<tr{}><th scope=\"row\">{}<small>{}, n = {}</small></th>", line.mean ? " class=\"mean\"" : "",
                         escape_html(line.name), escape_html(line.metric), rows_of(line));
  for (const auto& cell : line.cells) out += render_cell(cell, line.kind);
  return out + "</tr>\n";
}

std::string render_group(const std::vector<GridLine>& lines, const char* name, std::size_t columns) {
  if (lines.empty()) return "";
  auto out = fmt::format("<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n", columns, name);
  for (const auto& line : lines) out += render_line(line);
  return out;
}

std::vector<GridLine> lines_where(const std::vector<GridLine>& lines, bool held_out) {
  std::vector<GridLine> chosen;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(chosen),
               [&](const auto& line) { return line.held_out == held_out; });
  return chosen;
}

std::string render_table(const ResultGrid& grid) {
  std::string out = "<div class=\"scroll\"><table class=\"results\"><thead><tr><th scope=\"col\">task</th>";
  for (const auto& route : grid.routes) out += "<th scope=\"col\">" + escape_html(route) + "</th>";
  out += "</tr></thead><tbody>\n";
  const auto columns = grid.routes.size() + 1;
  out += render_group(lines_where(grid.lines, false), "Trained tasks", columns);
  out += render_group(lines_where(grid.lines, true), "Held-out tasks", columns);
  out += render_group(grid.means, "Means", columns);
  return out + "</tbody></table></div>\n";
}

/// All shares in one plot, each other metric in one of its own; means come first.
std::string render_plots(const ResultGrid& grid) {
  std::vector<std::pair<std::string, std::vector<GridLine>>> plots;
  const auto add = [&](const GridLine& line) {
    const auto key = line.kind.share ? std::string() : line.metric;
    auto found = std::find_if(plots.begin(), plots.end(), [&](const auto& plot) { return plot.first == key; });
    if (found == plots.end()) found = plots.insert(plots.end(), {key, {}});
    found->second.push_back(line);
  };
  for (const auto& line : grid.means) add(line);
  for (const auto& line : grid.lines) add(line);
  std::string out;
  for (const auto& [metric, lines] : plots) {
    if (!metric.empty()) out += "<h3>" + escape_html(metric) + " (lower is better)</h3>\n";
    out += render_dot_plot(lines, grid.routes);
  }
  return out;
}

}  // namespace

std::string render_headlines(const std::vector<ResultRow>& results) {
  const auto grid = make_result_grid(results);
  std::string out;
  for (const auto& line : grid.means) out += render_headline(line, grid.routes);
  return out.empty() ? "" : "<div class=\"heads\">\n" + out + "</div>\n";
}

std::string render_results(const std::vector<ResultRow>& results) {
  if (results.empty()) return "";
  const auto grid = make_result_grid(results);
  std::string legend = "<ul class=\"legend\">\n";
  for (std::size_t route = 0; route < grid.routes.size(); ++route) {
    legend += "<li>" + route_mark(route) + escape_html(grid.routes[route]) + "</li>\n";
  }
  return "<section><h2>Results</h2>\n<p class=\"note\">Shares are percent. In brackets: the 95 % interval. ★ marks the "
         "best route of a row; routes whose intervals overlap may not differ. Means are over the tasks that every "
         "route was "
         "scored on, with intervals that take the tasks as independent.</p>\n" +
         render_table(grid) + legend + "</ul>\n" + render_plots(grid) + "</section>\n";
}

}  // namespace quiver::evaluation
