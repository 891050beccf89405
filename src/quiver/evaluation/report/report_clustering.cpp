// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_clustering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/evaluation/report/report_heatmap.h"
#include "quiver/evaluation/report/report_plot.h"
#include "quiver/evaluation/report/report_style.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

constexpr double kWidth = 860, kHeight = 480, kMargin = 46, kCharPixels = 6.6, kLinePixels = 13;

struct Box {
  double left, top, right, bottom;
  bool meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

void check(const Clustering& clustering) {
  const auto n = clustering.names.size();
  QUIVER_CHECK(clustering.cluster.size() == n, mismatch, "clustering", "expected {} cluster indices, came {}", n,
               clustering.cluster.size());
  QUIVER_CHECK(clustering.positions.empty() || clustering.positions.size() == n, mismatch, "clustering",
               "expected {} positions, came {}", n, clustering.positions.size());
  for (const auto& position : clustering.positions) {
    QUIVER_CHECK(std::isfinite(position[0]) && std::isfinite(position[1]), mismatch, "clustering",
                 "expected finite positions, came {}, {}", position[0], position[1]);
  }
  if (!clustering.similarity.empty()) {
    check_matrix({clustering.names, clustering.names, clustering.similarity}, "cluster similarity");
  }
}

/// Cluster indices to places 0, 1, ... in ascending order, so that colours do not depend on gaps.
std::map<std::size_t, std::size_t> places_of(const Clustering& clustering) {
  std::map<std::size_t, std::size_t> places;
  for (const auto cluster : clustering.cluster) places[cluster] = 0;
  std::size_t place = 0;
  for (auto& [cluster, at] : places) at = place++;
  return places;
}

/// Positions in the picture, each axis stretched to it.
std::vector<std::array<double, 2>> pixels_of(const std::vector<std::array<double, 2>>& positions) {
  auto pixels = positions;
  for (const int axis : {0, 1}) {
    const auto less = [axis](const auto& a, const auto& b) { return a[axis] < b[axis]; };
    const double low = (*std::min_element(positions.begin(), positions.end(), less))[axis];
    const double high = (*std::max_element(positions.begin(), positions.end(), less))[axis];
    const double length = (axis == 0 ? kWidth : kHeight) - 2 * kMargin;
    for (auto& pixel : pixels) {
      const double share = high > low ? (pixel[axis] - low) / (high - low) : 0.5;
      pixel[axis] = kMargin + length * (axis == 0 ? share : 1 - share);
    }
  }
  return pixels;
}

/// The first of right, left, above and below where a label meets nothing that is drawn; false where there is none.
bool place_label(const std::array<double, 2>& at, double width, std::vector<Box>& taken, Box& label) {
  const double x = at[0], y = at[1], half = kLinePixels / 2;
  const Box choices[] = {{x + 11, y - half, x + 11 + width, y + half},
                         {x - 11 - width, y - half, x - 11, y + half},
                         {x - width / 2, y - 9 - kLinePixels, x + width / 2, y - 9},
                         {x - width / 2, y + 9, x + width / 2, y + 9 + kLinePixels}};
  for (const auto& choice : choices) {
    const bool inside = choice.left >= 0 && choice.right <= kWidth && choice.top >= 0 && choice.bottom <= kHeight;
    if (!inside || std::any_of(taken.begin(), taken.end(), [&](const Box& box) { return box.meets(choice); })) continue;
    taken.push_back(choice);
    label = choice;
    return true;
  }
  return false;
}

std::string render_scatter(const Clustering& clustering, const std::map<std::size_t, std::size_t>& places) {
  if (clustering.positions.empty()) return "";
  const auto pixels = pixels_of(clustering.positions);
  std::vector<Box> taken;
  for (const auto& at : pixels) taken.push_back({at[0] - 8, at[1] - 8, at[0] + 8, at[1] + 8});
  std::string points, labels;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const auto place = places.at(clustering.cluster[i]);
    points += fmt::format("<g transform=\"translate({:.1f} {:.1f}) scale(1.5)\"><title>{}, cluster {}</title>{}</g>\n",
                          pixels[i][0], pixels[i][1], escape_html(clustering.names[i]), clustering.cluster[i],
                          shape_at(place, 0, 0, "point"));
    const auto name = shorten(visible_text(clustering.names[i]), 26);
    Box label{};
    if (!place_label(pixels[i], kCharPixels * static_cast<double>(name.size()), taken, label)) continue;
    const bool to_the_left = label.right < pixels[i][0];
    labels += fmt::format("<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>\n",
                          to_the_left ? label.right : label.left, label.bottom - 3,
                          to_the_left ? " text-anchor=\"end\"" : "", escape_html(name));
  }
  return fmt::format(
             "<h3>Experts by what they learned</h3>\n<div class=\"scroll keep\"><svg role=\"img\" "
             "aria-label=\"Experts in two dimensions, coloured by cluster\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
             "style=\"min-width:560px;width:100%\">\n<rect class=\"edge\" x=\"0.5\" y=\"0.5\" width=\"{2:.0f}\" "
             "height=\"{3:.0f}\" rx=\"8\"/>\n",
             kWidth, kHeight, kWidth - 1, kHeight - 1) +
         points + labels + "</svg></div>\n";
}

std::string render_members(const Clustering& clustering, const std::map<std::size_t, std::size_t>& places) {
  std::string out = "<ul class=\"legend\">\n";
  for (const auto& [cluster, place] : places) {
    std::string members;
    for (std::size_t i = 0; i < clustering.names.size(); ++i) {
      if (clustering.cluster[i] == cluster) members += (members.empty() ? "" : ", ") + escape_html(clustering.names[i]);
    }
    const auto mark = clustering.positions.empty() ? colour_mark(place) : route_mark(place);
    out += fmt::format("<li>{}<b>cluster {}</b>: {}</li>\n", mark, cluster, members);
  }
  return out + "</ul>\n";
}

std::string render_similarity(const Clustering& clustering) {
  if (clustering.similarity.empty()) return "";
  std::vector<std::size_t> order(clustering.names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return clustering.cluster[a] < clustering.cluster[b]; });
  Matrix ordered;
  HeatmapOptions options{.high = 0, .is_signed = true, .label = "Cosine similarity of experts, ordered by cluster"};
  for (std::size_t row = 0; row < order.size(); ++row) {
    ordered.row_names.push_back(clustering.names[order[row]]);
    ordered.values.emplace_back();
    for (std::size_t column = 0; column < order.size(); ++column) {
      const double value = clustering.similarity[order[row]][order[column]];
      ordered.values.back().push_back(value);
      if (row != column && std::isfinite(value)) options.high = std::max(options.high, std::abs(value));
    }
    if (row > 0 && clustering.cluster[order[row]] != clustering.cluster[order[row - 1]]) options.groups.push_back(row);
  }
  ordered.column_names = ordered.row_names;
  if (options.high == 0) options.high = 1;
  return "<h3>Cosine similarity, ordered by cluster</h3>\n<p class=\"note\">Full colour is the largest similarity of "
         "two "
         "different experts, so that the structure shows; the diagonal is 1.</p>\n" +
         render_heatmap(ordered, options);
}

}  // namespace

std::string render_clustering(const Clustering& clustering) {
  if (clustering.names.empty()) return "";
  check(clustering);
  const auto places = places_of(clustering);
  return "<section><h2>Clusters</h2>\n" + render_members(clustering, places) + render_scatter(clustering, places) +
         render_similarity(clustering) + "</section>\n";
}

}  // namespace quiver::evaluation
