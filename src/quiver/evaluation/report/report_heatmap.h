// SPDX-License-Identifier: Apache-2.0
// Heat map: a matrix as an SVG picture with its values on the cells and a legend.
//
// One hue by opacity (another for values below 0 of a signed scale): readable without colour vision, in light and dark.
#pragma once

#include <string>
#include <vector>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

struct HeatmapOptions {
  double low = 0, high = 1;  ///< values of no and of full colour; a signed scale runs from -high to high
  bool is_signed = false;
  bool percent = false;           ///< values are shares, shown as percent
  bool mark_column_best = false;  ///< frame the largest value of each column
  std::vector<std::size_t> groups =
      {};                  ///< a line is drawn after each of these rows and columns (counts from the start)
  std::string label = {};  ///< what the picture shows, for screen readers
};

std::string render_heatmap(const Matrix& matrix, const HeatmapOptions& options);

/// Rows, columns and values agree; else Error{mismatch} naming `what`.
void check_matrix(const Matrix& matrix, const std::string& what);

}  // namespace quiver::evaluation
