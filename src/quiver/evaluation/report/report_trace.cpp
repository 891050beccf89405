// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/evaluation/report/report_plot.h"
#include "quiver/evaluation/report/report_routing.h"
#include "quiver/evaluation/report/report_style.h"
#include "quiver/evaluation/report/report_text.h"

namespace quiver::evaluation {
namespace {

constexpr double kTokenWidth = 150, kRow = 19, kSummaryBar = 150, kTop = 30;
constexpr std::size_t kTokenColumns = 20;

/// Experts to colours: the strongest over the whole trace first.
std::vector<std::size_t> places_of(const Trace& trace, const std::vector<ExpertShare>& shares) {
  std::vector<std::size_t> places(trace.experts.size());
  for (std::size_t place = 0; place < shares.size(); ++place) places[shares[place].expert] = place;
  return places;
}

/// A list of texts as a JSON list fit for an attribute.
std::string json_attribute(const std::vector<std::string>& texts, bool tokens) {
  auto list = nlohmann::json::array();
  for (const auto& text : texts) list.push_back(tokens ? visible_token(text) : visible_text(text));
  return escape_html(list.dump());
}

std::string render_legend(const Trace& trace, const std::vector<ExpertShare>& shares) {
  std::string out = "<ul class=\"legend\">\n";
  for (std::size_t place = 0; place < shares.size() && shares[place].share > 0; ++place) {
    out += fmt::format("<li>{}{} <span class=\"quiet\">{} %</span></li>\n", colour_mark(place),
                       escape_html(trace.experts[shares[place].expert]), format_percent(shares[place].share));
  }
  return out + "</ul>\n";
}

/// The text itself, each token underlined in the colour of its strongest expert.
std::string render_reading(const Trace& trace, const std::vector<std::size_t>& places) {
  std::string out = "<p class=\"read\">";
  for (std::size_t token = 0; token < trace.tokens.size(); ++token) {
    const auto shares = token_shares(trace, token);
    const auto title = shares.empty() ? std::string("base model only")
                                      : fmt::format("{} {} %", escape_html(trace.experts[shares[0].expert]),
                                                    format_percent(shares[0].share));
    out += fmt::format("<span class=\"{}\" title=\"{}\">{}</span>{}",
                       shares.empty() ? "none" : series_class(places[shares[0].expert]), title,
                       escape_html(trace.tokens[token]), trace.tokens[token].ends_with('\n') ? "<br>" : "<wbr>");
  }
  return out + "</p>\n";
}

std::string mix_attribute(const std::vector<TraceEntry>& mix) {
  auto sorted = mix;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.weight > b.weight; });
  std::string out;
  for (const auto& entry : sorted)
    out += fmt::format("{}{} {:.4g}", out.empty() ? "" : ";", entry.expert, entry.weight);
  return out;
}

std::string render_cells(const Trace& trace, std::size_t token, const std::vector<std::size_t>& places, double width) {
  std::string out;
  for (std::size_t layer = 0; layer < trace.layers.size(); ++layer) {
    const auto& mix = trace.weights[layer][token];
    const auto* best = strongest(mix);
    const double opacity = best ? 0.1 + 0.9 * std::clamp(best->weight, 0.0, 1.0) : 0.06;
    out += fmt::format(
        "<rect class=\"cell {}\" data-l=\"{}\" data-w=\"{}\" x=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" "
        "opacity=\"{:.2f}\"/>",
        series_class(best ? places[best->expert] : kSeriesColours), layer, mix_attribute(mix),
        kTokenWidth + width * static_cast<double>(layer), width - 1, kRow - 1, opacity);
  }
  return out;
}

/// A bar of the token's experts over all layers, and the name of the strongest.
std::string render_summary(const Trace& trace, std::size_t token, const std::vector<std::size_t>& places, double x) {
  const auto shares = token_shares(trace, token);
  double total = 0;
  for (const auto& share : shares) total += share.share;
  std::string out;
  double at = x;
  for (const auto& share : shares) {
    const double width = kSummaryBar * share.share / std::max(total, 1.0);
    out +=
        fmt::format("<rect class=\"{}\" stroke-width=\"0\" x=\"{:.1f}\" y=\"3\" width=\"{:.1f}\" height=\"{:.0f}\"/>",
                    series_class(places[share.expert]), at, std::max(width - 0.5, 0.2), kRow - 7);
    at += width;
  }
  if (shares.empty()) return out;
  return out + fmt::format("<text class=\"small quiet\" x=\"{:.1f}\" y=\"{:.1f}\">{:.0f} % {}</text>",
                           x + kSummaryBar + 8, kRow - 6, 100 * shares[0].share,
                           escape_html(shorten(trace.experts[shares[0].expert], 24)));
}

std::string render_layer_names(const Trace& trace, double width) {
  const auto step = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(40 / width)));
  std::string out;
  for (std::size_t layer = 0; layer < trace.layers.size(); layer += step) {
    out += fmt::format(
        "<path class=\"rule\" d=\"M{0:.1f} {1:.0f}v5\"/><text class=\"small quiet\" x=\"{0:.1f}\" y=\"{2:.0f}\" "
        "text-anchor=\"middle\">{3}</text>",
        kTokenWidth + width * (static_cast<double>(layer) + 0.5) - 0.5, kTop - 7, kTop - 11, layer);
  }
  return out + "\n";
}

std::string render_picture(const Trace& trace, const std::vector<std::size_t>& places) {
  const auto layers = static_cast<double>(trace.layers.size());
  const double width = std::clamp(560 / std::max(layers, 1.0), 7.0, 24.0);
  const double summary = kTokenWidth + width * layers + 14;
  const double total_width = summary + kSummaryBar + 180;
  const double total_height = kTop + kRow * static_cast<double>(trace.tokens.size()) + 4;
  auto out = fmt::format(
      "<div class=\"scroll\"><svg role=\"img\" aria-label=\"Strongest expert of each token at each layer\" "
      "width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" data-experts=\"{2}\" data-layers=\"{3}\" "
      "data-tokens=\"{4}\">\n",
      total_width, total_height, json_attribute(trace.experts, false), json_attribute(trace.layers, false),
      json_attribute(trace.tokens, true));
  out += render_layer_names(trace, width);
  out +=
      fmt::format("<text class=\"small quiet\" x=\"{:.1f}\" y=\"{:.0f}\">over all layers</text>\n", summary, kTop - 11);
  for (std::size_t token = 0; token < trace.tokens.size(); ++token) {
    out += fmt::format(
        "<g data-t=\"{}\" transform=\"translate(0 {:.0f})\"><text x=\"{:.0f}\" y=\"{:.0f}\" "
        "text-anchor=\"end\">{}</text>{}{}"
        "</g>\n",
        token, kTop + kRow * static_cast<double>(token), kTokenWidth - 8, kRow - 5,
        escape_html(shorten(visible_token(trace.tokens[token]), kTokenColumns)),
        render_cells(trace, token, places, width), render_summary(trace, token, places, summary));
  }
  return out + "</svg></div>\n";
}

}  // namespace

std::string render_trace(const Trace& trace) {
  if (trace.tokens.empty()) return "";
  check_trace(trace);
  const auto shares = expert_shares(trace);
  const auto places = places_of(trace, shares);
  return fmt::format(
             "<section><h2>Routing: {}</h2>\n<p class=\"note\">Each row is a token, each column a layer. The colour is "
             "the "
             "strongest expert, its strength the weight; hover over or tap a cell to see all experts of it. The bars "
             "at the right take all layers together.</p>\n",
             escape_html(trace.title)) +
         render_legend(trace, shares) + render_reading(trace, places) + render_picture(trace, places) + "</section>\n";
}

}  // namespace quiver::evaluation
