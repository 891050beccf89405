// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_heatmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

constexpr std::size_t kLabelColumns = 26;
constexpr double kLabelPixels = 6.6;  ///< per character of a label, on the generous side

struct Layout {
  double cell_width, cell_height, left, top, width, height;
};

double label_pixels(const std::vector<std::string>& names) {
  std::size_t longest = 1;
  for (const auto& name : names) longest = std::max(longest, std::min(name.size(), kLabelColumns));
  return kLabelPixels * static_cast<double>(longest);
}

Layout layout_of(const Matrix& matrix) {
  const auto columns = static_cast<double>(std::max<std::size_t>(matrix.column_names.size(), 1));
  const double cell = std::clamp(760 / columns, 32.0, 64.0);
  Layout at{cell, cell < 40 ? 24.0 : 30.0, label_pixels(matrix.row_names) + 14, 0, 0, 0};
  // Column labels lean by 45 degrees: they rise and reach to the right by their length over the root of two.
  const double lean = label_pixels(matrix.column_names) * 0.71;
  at.top = lean + 16;
  at.width = at.left + at.cell_width * static_cast<double>(matrix.column_names.size()) + lean + 16;
  at.height = at.top + at.cell_height * static_cast<double>(matrix.row_names.size()) + 46;
  return at;
}

double strength(double value, const HeatmapOptions& options) {
  const double span = options.is_signed ? options.high : options.high - options.low;
  const double above = options.is_signed ? std::abs(value) : value - options.low;
  return span > 0 ? std::clamp(above / span, 0.0, 1.0) : 0;
}

std::string cell_text(double value, const HeatmapOptions& options) {
  if (!std::isfinite(value)) return "–";
  if (options.percent) return fmt::format("{:.0f}", 100 * value);
  auto text = fmt::format("{:.2f}", value);
  if (std::abs(value) >= 100) return fmt::format("{:.0f}", value);
  if (std::abs(value) >= 10) return fmt::format("{:.1f}", value);
  if (text == "-0.00") text = "0.00";
  return text.starts_with("0.") ? text.substr(1) : text.starts_with("-0.") ? text.erase(1, 1) : text;
}

std::string cell_title(const Matrix& matrix, std::size_t row, std::size_t column, const HeatmapOptions& options) {
  const double value = matrix.values[row][column];
  return fmt::format("{} × {}: {}{}", escape_html(matrix.row_names[row]), escape_html(matrix.column_names[column]),
                     options.percent ? format_percent(value) : format_number(value), options.percent ? " %" : "");
}

std::string render_cell(const Matrix& matrix, std::size_t row, std::size_t column, const Layout& at,
                        const HeatmapOptions& options) {
  const double value = matrix.values[row][column];
  const double opacity = std::isfinite(value) ? strength(value, options) : 0;
  const double x = at.left + at.cell_width * static_cast<double>(column);
  const double y = at.top + at.cell_height * static_cast<double>(row);
  return fmt::format(
      "<g><title>{}</title><rect class=\"heat{}\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" "
      "fill-opacity=\"{:.3f}\"/><text class=\"small{}\" x=\"{:.1f}\" y=\"{:.1f}\" "
      "text-anchor=\"middle\">{}</text></g>\n",
      cell_title(matrix, row, column, options), options.is_signed && value < 0 ? " minus" : "", x, y, at.cell_width - 1,
      at.cell_height - 1, opacity, opacity > 0.55 ? " on" : "", x + at.cell_width / 2, y + at.cell_height / 2 + 3.5,
      cell_text(value, options));
}

std::string render_labels(const Matrix& matrix, const Layout& at) {
  std::string out;
  for (std::size_t row = 0; row < matrix.row_names.size(); ++row) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", at.left - 8,
                       at.top + at.cell_height * (static_cast<double>(row) + 0.5) + 4,
                       escape_html(shorten(matrix.row_names[row], kLabelColumns)));
  }
  for (std::size_t column = 0; column < matrix.column_names.size(); ++column) {
    const double x = at.left + at.cell_width * (static_cast<double>(column) + 0.5);
    out += fmt::format("<text x=\"{0:.1f}\" y=\"{1:.1f}\" transform=\"rotate(-45 {0:.1f} {1:.1f})\">{2}</text>\n", x,
                       at.top - 7, escape_html(shorten(matrix.column_names[column], kLabelColumns)));
  }
  return out;
}

std::string render_best_frames(const Matrix& matrix, const Layout& at) {
  std::string out;
  for (std::size_t column = 0; column < matrix.column_names.size(); ++column) {
    std::size_t best = matrix.row_names.size();
    for (std::size_t row = 0; row < matrix.row_names.size(); ++row) {
      const double value = matrix.values[row][column];
      if (std::isfinite(value) && (best == matrix.row_names.size() || value > matrix.values[best][column])) best = row;
    }
    if (best == matrix.row_names.size()) continue;
    out += fmt::format("<rect class=\"top\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\"/>\n",
                       at.left + at.cell_width * static_cast<double>(column) + 0.0,
                       at.top + at.cell_height * static_cast<double>(best), at.cell_width - 1, at.cell_height - 1);
  }
  return out;
}

std::string render_group_lines(const Matrix& matrix, const Layout& at, const std::vector<std::size_t>& groups) {
  const double right = at.left + at.cell_width * static_cast<double>(matrix.column_names.size());
  const double bottom = at.top + at.cell_height * static_cast<double>(matrix.row_names.size());
  std::string out;
  for (const auto group : groups) {
    const double x = at.left + at.cell_width * static_cast<double>(group) - 0.5;
    const double y = at.top + at.cell_height * static_cast<double>(group) - 0.5;
    out += fmt::format("<path class=\"top\" d=\"M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}V{:.1f}\"/>\n", at.left, y, right, x,
                       at.top, bottom);
  }
  return out;
}

std::string render_scale(const Layout& at, const HeatmapOptions& options) {
  constexpr int kSteps = 24;
  const double y = at.height - 32;
  const double low = options.is_signed ? -options.high : options.low;
  std::string out;
  for (int i = 0; i < kSteps; ++i) {
    const double value = low + (options.high - low) * (i + 0.5) / kSteps;
    out += fmt::format(
        "<rect class=\"heat{}\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"6\" height=\"10\" fill-opacity=\"{:.3f}\"/>",
        value < 0 && options.is_signed ? " minus" : "", at.left + 6.0 * i, y, strength(value, options));
  }
  out += fmt::format("<rect class=\"edge\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"{}\" height=\"10\"/>", at.left, y,
                     6 * kSteps);
  const auto shown = [&](double value) {
    return options.percent ? fmt::format("{:.0f} %", 100 * value) : cell_text(value, options);
  };
  out += fmt::format("<text class=\"small quiet\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text>", at.left, y + 23, shown(low));
  out += fmt::format("<text class=\"small quiet\" x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text>\n",
                     at.left + 6.0 * kSteps, y + 23, shown(options.high));
  return out;
}

}  // namespace

void check_matrix(const Matrix& matrix, const std::string& what) {
  QUIVER_CHECK(matrix.values.size() == matrix.row_names.size(), mismatch, what, "expected {} rows of values, came {}",
               matrix.row_names.size(), matrix.values.size());
  for (const auto& row : matrix.values) {
    QUIVER_CHECK(row.size() == matrix.column_names.size(), mismatch, what, "expected {} values in a row, came {}",
                 matrix.column_names.size(), row.size());
  }
}

std::string render_heatmap(const Matrix& matrix, const HeatmapOptions& options) {
  const auto at = layout_of(matrix);
  auto out = fmt::format(
      "<div class=\"scroll\"><svg role=\"img\" aria-label=\"{0}\" width=\"{1:.0f}\" height=\"{2:.0f}\" "
      "viewBox=\"0 0 {1:.0f} {2:.0f}\">\n",
      escape_html(options.label), at.width, at.height);
  for (std::size_t row = 0; row < matrix.row_names.size(); ++row) {
    for (std::size_t column = 0; column < matrix.column_names.size(); ++column) {
      out += render_cell(matrix, row, column, at, options);
    }
  }
  if (options.mark_column_best) out += render_best_frames(matrix, at);
  out += render_group_lines(matrix, at, options.groups) + render_labels(matrix, at) + render_scale(at, options);
  return out + "</svg></div>\n";
}

}  // namespace quiver::evaluation
