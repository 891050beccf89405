// SPDX-License-Identifier: Apache-2.0
// Report: what an evaluation found, as plain data, and as one HTML page.
//
// The page is self-contained: no network, no file beside it; it works from file://, follows the reader's light or dark
// mode, fits a phone and prints. Any part that is empty is left out. All texts are untrusted and escaped.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace quiver::evaluation {

/// The score of one route on one task.
struct ResultRow {
  std::string task;
  std::string route;
  std::string metric;  ///< what metric_kind (report_grid.h) knows; shares are in [0, 1] and shown as percent
  double value = 0;
  std::size_t count = 0;     ///< test rows
  double low = 0, high = 0;  ///< 95 % interval of the value
  bool held_out = false;     ///< no expert was trained on the task
};

/// Experts by tasks, say: values[row][column]; not finite where unknown.
struct Matrix {
  std::vector<std::string> row_names, column_names;
  std::vector<std::vector<double>> values;
};

struct Clustering {
  std::vector<std::string> names;
  std::vector<std::size_t> cluster;              ///< per name
  std::vector<std::vector<double>> similarity;   ///< cosine, names by names; may be empty
  std::vector<std::array<double, 2>> positions;  ///< per name, any unit; may be empty
};

/// One expert of one token's mix at one layer.
struct TraceEntry {
  std::size_t expert = 0;  ///< index into Trace::experts
  double weight = 0;       ///< as it is applied, not 0
};

/// Where the tokens of one text were routed.
struct Trace {
  std::string title;
  std::vector<std::string> tokens, layers, experts;
  std::vector<std::vector<std::vector<TraceEntry>>> weights;  ///< [layer][token]: the mix; empty for the base alone
};

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  ///< name and value: model, library, seed, date, ...
  std::vector<ResultRow> results;
  Matrix matrix;
  Clustering clustering;
  std::vector<Trace> traces;
};

/// Throws Error{mismatch} where sizes do not agree or an index is out of range.
void check_trace(const Trace& trace);

/// The page. Throws Error{mismatch} where the report's sizes do not agree.
std::string render_report(const Report& report);

/// Whether a file that begins so is a page of render_report's.
bool is_report(const std::string& head);

}  // namespace quiver::evaluation
