// SPDX-License-Identifier: Apache-2.0
// Dot plot with error bars: one band per task, one mark per route, as an SVG picture.
#pragma once

#include <string>
#include <vector>

#include "quiver/evaluation/report/report_grid.h"

namespace quiver::evaluation {

/// A small picture of a route's mark, and one of a plain colour, for legends.
std::string route_mark(std::size_t route);
std::string colour_mark(std::size_t place);

/// Lines of one kind (all shares, or one metric); shares are drawn on 0 to 100 %, numbers on the range they take.
std::string render_dot_plot(const std::vector<GridLine>& lines, const std::vector<std::string>& routes);

/// One of four shapes, by place, in a series colour, about 9 pixels wide.
std::string shape_at(std::size_t place, double x, double y, const std::string& extra_class);

}  // namespace quiver::evaluation
