// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "quiver/base/strings.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

std::size_t index_of(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) names.push_back(name);
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

GridLine& line_of(ResultGrid& grid, const ResultRow& row) {
  for (auto& line : grid.lines) {
    if (line.name == row.task && line.metric == row.metric) return line;
  }
  grid.lines.push_back({row.task, row.metric, metric_kind(row.metric), row.held_out, false, {}});
  return grid.lines.back();
}

void mark_best(GridLine& line) {
  std::optional<double> best;
  for (const auto& cell : line.cells) {
    if (!cell || !std::isfinite(cell->value)) continue;
    const bool better = best && (line.kind.lower_is_better ? cell->value < *best : cell->value > *best);
    if (!best || better) best = cell->value;
  }
  for (auto& cell : line.cells) {
    if (cell) cell->best = best && cell->value == *best;
  }
}

bool complete(const GridLine& line) {
  return std::all_of(line.cells.begin(), line.cells.end(),
                     [](const auto& cell) { return cell && std::isfinite(cell->value); });
}

/// Second readings of the same answers are never in a mean.
bool counts_in_means(std::string_view metric) {
  return metric != "accuracy_sum" && metric != "rouge_l" && metric != "routing_accuracy";
}

GridCell mean_cell(const std::vector<const GridLine*>& lines, std::size_t route) {
  GridCell mean;
  double below = 0, above = 0;
  for (const auto* line : lines) {
    const auto& cell = *line->cells[route];
    mean.value += cell.value;
    mean.count += cell.count;
    below += (cell.value - cell.low) * (cell.value - cell.low);
    above += (cell.high - cell.value) * (cell.high - cell.value);
  }
  const auto n = static_cast<double>(lines.size());
  mean.value /= n;
  mean.low = mean.value - std::sqrt(below) / n;
  mean.high = mean.value + std::sqrt(above) / n;
  return mean;
}

GridLine mean_line(const std::vector<const GridLine*>& lines, std::size_t routes) {
  const auto& first = *lines.front();
  std::vector<std::string> metrics;
  for (const auto* line : lines) index_of(metrics, line->metric);
  const auto what = first.held_out ? "held-out" : "trained";
  GridLine mean{fmt::format("mean of {} {} tasks", lines.size(), what),
                join(metrics, ", "),
                first.kind,
                first.held_out,
                true,
                {}};
  for (std::size_t route = 0; route < routes; ++route) mean.cells.push_back(mean_cell(lines, route));
  mark_best(mean);
  return mean;
}

/// A task counts once in a mean of shares: by its first, which is the one it asked for where it asked for any.
void add_means(ResultGrid& grid) {
  std::set<std::string> counted;
  std::map<std::pair<bool, std::string>, std::vector<const GridLine*>> groups;
  for (const auto& line : grid.lines) {
    if (complete(line) && counts_in_means(line.metric) && (!line.kind.share || counted.insert(line.name).second))
      groups[{line.held_out, line.kind.share ? "" : line.metric}].push_back(&line);
  }
  for (const auto& [key, lines] : groups) {
    if (lines.size() > 1) grid.means.push_back(mean_line(lines, grid.routes.size()));
  }
}

}  // namespace

MetricKind metric_kind(std::string_view metric) {
  const auto name = lower_ascii(metric);
  for (const auto* part : {"perplexity", "loss", "nll", "bits", "ppl"}) {
    if (name.find(part) != std::string::npos) return {false, true};
  }
  return {};
}

std::string format_value(double value, const MetricKind& kind) {
  return kind.share ? format_percent(value) : format_number(value);
}

ResultGrid make_result_grid(const std::vector<ResultRow>& results) {
  ResultGrid grid;
  for (const auto& row : results) {
    const auto route = index_of(grid.routes, row.route);
    auto& line = line_of(grid, row);
    if (line.cells.size() <= route) line.cells.resize(route + 1);
    line.cells[route] = GridCell{row.value, row.low, row.high, row.count, false};
  }
  std::stable_partition(grid.lines.begin(), grid.lines.end(), [](const auto& line) { return !line.held_out; });
  for (auto& line : grid.lines) {
    line.cells.resize(grid.routes.size());
    mark_best(line);
  }
  add_means(grid);
  return grid;
}

}  // namespace quiver::evaluation
