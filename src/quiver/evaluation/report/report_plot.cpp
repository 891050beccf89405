// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quiver/evaluation/report/report_style.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

constexpr double kWidth = 1000, kLeft = 190, kRight = 975, kRouteStep = 11, kBandGap = 12;
constexpr std::size_t kLabelColumns = 26;

struct Axis {
  double low = 0, high = 1;
  double x(double value) const {
    return kLeft + (kRight - kLeft) * (std::clamp(value, low, high) - low) / (high - low);
  }
};

/// A step of 1, 2 or 5 times a power of ten that parts a range into about five.
double tick_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(range / 5)));
  const double rest = range / 5 / power;
  return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

Axis axis_of(const std::vector<GridLine>& lines) {
  if (lines.front().kind.share) return {};
  double high = 0;
  for (const auto& line : lines) {
    for (const auto& cell : line.cells) {
      if (!cell) continue;
      for (const double value : {cell->value, cell->high}) high = std::max(high, std::isfinite(value) ? value : 0);
    }
  }
  return {0, high > 0 ? high * 1.04 : 1};
}

std::string render_axis(const Axis& axis, double bottom, bool share) {
  const double step = share ? 0.2 : tick_step(axis.high - axis.low);
  std::string out;
  for (int i = 0; axis.low + step * i <= axis.high + step * 1e-6; ++i) {
    const double value = axis.low + step * i;
    out += fmt::format(
        "<path class=\"rule\" d=\"M{0:.1f} 4V{1:.1f}\"/><text class=\"quiet small\" x=\"{0:.1f}\" y=\"{2:.1f}\" "
        "text-anchor=\"middle\">{3}</text>\n",
        axis.x(value), bottom, bottom + 15, share ? fmt::format("{:.0f} %", 100 * value) : format_number(value));
  }
  return out;
}

std::string render_mark(const GridCell& cell, std::size_t route, double y, const Axis& axis) {
  if (!std::isfinite(cell.value)) return "";
  std::string out;
  if (std::isfinite(cell.low) && std::isfinite(cell.high) && cell.high > cell.low) {
    const double low = axis.x(cell.low), high = axis.x(cell.high);
    out += fmt::format("<path class=\"bar {}\" d=\"M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v5M{:.1f} {:.1f}v5\"/>",
                       series_class(route), low, y, high, low, y - 2.5, high, y - 2.5);
  }
  return out + shape_at(route, axis.x(cell.value), y, "");
}

std::string render_band(const GridLine& line, const std::vector<std::string>& routes, double top, const Axis& axis) {
  const double middle = top + kRouteStep * static_cast<double>(routes.size()) / 2;
  auto out = fmt::format("<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\"{}>{}</text>\n", kLeft - 12, middle + 4,
                         line.mean ? " font-weight=\"600\"" : "", escape_html(shorten(line.name, kLabelColumns)));
  for (std::size_t route = 0; route < line.cells.size(); ++route) {
    if (!line.cells[route]) continue;
    const auto& cell = *line.cells[route];
    out += fmt::format("<g><title>{}, {}: {} [{}, {}]</title>{}</g>\n", escape_html(line.name),
                       escape_html(routes[route]), format_value(cell.value, line.kind),
                       format_value(cell.low, line.kind), format_value(cell.high, line.kind),
                       render_mark(cell, route, top + kRouteStep * (static_cast<double>(route) + 0.5), axis));
  }
  return out;
}

}  // namespace

std::string shape_at(std::size_t place, double x, double y, const std::string& extra_class) {
  const auto css = series_class(place) + (extra_class.empty() ? "" : " " + extra_class);
  switch (place % 4) {
    case 0:
      return fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.2\"/>", css, x, y);
    case 1:
      return fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"7.6\" height=\"7.6\"/>", css, x - 3.8,
                         y - 3.8);
    case 2:
      return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f}l4.8 8.4h-9.6z\"/>", css, x, y - 5);
    default:
      return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f}l5 5-5 5-5-5z\"/>", css, x, y - 5);
  }
}

std::string route_mark(std::size_t route) {
  return "<svg viewBox=\"0 0 12 12\" aria-hidden=\"true\">" + shape_at(route, 6, 6, "") + "</svg>";
}

std::string colour_mark(std::size_t place) {
  return fmt::format(
      "<svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{}\" x=\"1\" y=\"1\" width=\"10\" "
      "height=\"10\"/></svg>",
      series_class(place));
}

std::string render_dot_plot(const std::vector<GridLine>& lines, const std::vector<std::string>& routes) {
  if (lines.empty()) return "";
  const auto axis = axis_of(lines);
  const double band = kRouteStep * static_cast<double>(routes.size()) + kBandGap;
  const double bottom = 4 + band * static_cast<double>(lines.size());
  auto out = fmt::format(
      "<div class=\"scroll\"><svg role=\"img\" aria-label=\"Scores of each route on each task with 95 % intervals\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" style=\"min-width:680px;width:100%\">\n",
      kWidth, bottom + 22);
  for (std::size_t i = 0; i < lines.size(); i += 2) {
    out += fmt::format("<rect class=\"band\" x=\"0\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.1f}\"/>\n",
                       4 + band * static_cast<double>(i), kWidth, band);
  }
  out += render_axis(axis, bottom, lines.front().kind.share);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    out += render_band(lines[i], routes, 4 + band * static_cast<double>(i) + kBandGap / 2, axis);
  }
  return out + "</svg></div>\n";
}

}  // namespace quiver::evaluation
