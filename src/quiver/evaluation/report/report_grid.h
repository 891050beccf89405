// SPDX-License-Identifier: Apache-2.0
// ResultGrid: result rows as tasks by routes, with the best route of each task and the means that can be compared.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

struct MetricKind {
  bool share = true;  ///< in [0, 1], shown as percent
  bool lower_is_better = false;
};

/// Perplexity, loss, negative log-likelihood, bits per byte: numbers, lower is better; else a share (accuracy, exact
/// match, Rouge-L, ...), higher is better.
MetricKind metric_kind(std::string_view metric);

/// A value as the metric's kind is shown: `84.2` (percent) or `12.34`.
std::string format_value(double value, const MetricKind& kind);

struct GridCell {
  double value = 0, low = 0, high = 0;
  std::size_t count = 0;
  bool best = false;  ///< no route of the line is better; ties are all best
};

/// One task under one metric, or a mean of several tasks.
struct GridLine {
  std::string name;    ///< the task, or "mean of 5 trained tasks"
  std::string metric;  ///< for a mean: the metrics it covers, joined by ", "
  MetricKind kind;
  bool held_out = false;
  bool mean = false;
  std::vector<std::optional<GridCell>> cells;  ///< one per route
};

struct ResultGrid {
  std::vector<std::string> routes;  ///< in the order of their first row
  std::vector<GridLine> lines;      ///< trained tasks, then held-out ones, each in the order of their first row
  /// Means over trained and over held-out tasks: all shares together, each other metric by itself. Only tasks that
  /// every route was scored on count, and the name says how many those are. The interval takes the tasks as
  /// independent: half-widths add as the root of the sum of their squares. A group of one task has no mean.
  std::vector<GridLine> means;
};

/// The last of several rows of one task, metric and route wins.
ResultGrid make_result_grid(const std::vector<ResultRow>& results);

}  // namespace quiver::evaluation
