// SPDX-License-Identifier: Apache-2.0
// render_trace_text of terminal_table.h.
#include <fmt/format.h>

#include <algorithm>

#include "quiver/evaluation/report/report_routing.h"
#include "quiver/evaluation/report/report_text.h"
#include "quiver/evaluation/terminal_table.h"

namespace quiver::evaluation {
namespace {

constexpr std::size_t kStripColumns = 48;
constexpr std::size_t kTokenColumns = 20;
constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Background colours of the 256-colour palette that are told apart with most kinds of colour blindness.
constexpr int kColours[] = {25, 172, 36, 175, 74, 130, 96, 143, 61};

/// Experts by their place among all: the strongest is A.
struct Legend {
  std::vector<ExpertShare> shares;
  std::vector<std::size_t> place_of;  ///< per expert

  explicit Legend(const Trace& trace) : shares(expert_shares(trace)), place_of(trace.experts.size()) {
    for (std::size_t place = 0; place < shares.size(); ++place) place_of[shares[place].expert] = place;
  }
  char letter(std::size_t expert) const {
    return place_of[expert] < kLetters.size() ? kLetters[place_of[expert]] : '+';
  }
};

std::string mark(const Legend& legend, std::size_t expert, bool colour) {
  const char letter = legend.letter(expert);
  if (!colour || legend.place_of[expert] >= std::size(kColours)) return std::string(1, letter);
  return fmt::format("\x1b[97;48;5;{}m{}\x1b[0m", kColours[legend.place_of[expert]], letter);
}

/// The layers [begin, end) of one token: their strongest expert in sum.
std::string strip_mark(const Trace& trace, const Legend& legend, std::size_t token,
                       std::pair<std::size_t, std::size_t> layers, bool colour) {
  std::vector<double> sums(trace.experts.size(), 0);
  for (auto layer = layers.first; layer < layers.second; ++layer) {
    for (const auto& entry : trace.weights[layer][token]) sums[entry.expert] += entry.weight;
  }
  const auto best = std::max_element(sums.begin(), sums.end());
  if (best == sums.end() || *best <= 0) return "·";
  return mark(legend, static_cast<std::size_t>(best - sums.begin()), colour);
}

std::string strip(const Trace& trace, const Legend& legend, std::size_t token, bool colour) {
  const auto layers = trace.layers.size();
  const auto columns = std::min(layers, kStripColumns);
  std::string text;
  for (std::size_t i = 0; i < columns; ++i) {
    text += strip_mark(trace, legend, token, {i * layers / columns, (i + 1) * layers / columns}, colour);
  }
  return text;
}

std::string padded(const std::string& text, std::size_t width) {
  const auto used = terminal_width(text);
  return text + std::string(width > used ? width - used : 0, ' ');
}

std::string share_text(const Trace& trace, const ExpertShare& share, std::size_t width) {
  return padded(fmt::format("{:3.0f} % {}", 100 * share.share, shorten(visible_text(trace.experts[share.expert]), 24)),
                width);
}

std::string legend_text(const Trace& trace, const Legend& legend, bool colour) {
  std::string text;
  for (const auto& share : legend.shares) {
    if (share.share > 0)
      text += fmt::format("  {} {}\n", mark(legend, share.expert, colour), share_text(trace, share, 0));
  }
  return text;
}

}  // namespace

std::string render_trace_text(const Trace& trace, bool colour) {
  check_trace(trace);
  const Legend legend(trace);
  std::string text;
  if (!trace.title.empty()) text += visible_text(trace.title) + "\n";
  text += legend_text(trace, legend, colour);
  if (!trace.layers.empty()) {
    text += fmt::format("  strip: {} to {}\n", visible_text(trace.layers.front()), visible_text(trace.layers.back()));
  }
  for (std::size_t token = 0; token < trace.tokens.size(); ++token) {
    const auto shares = token_shares(trace, token);
    text += padded(shorten(visible_token(trace.tokens[token]), kTokenColumns), kTokenColumns + 1);
    text += strip(trace, legend, token, colour);
    if (!shares.empty()) text += "  " + share_text(trace, shares[0], 30);
    if (shares.size() > 1) text += "  " + share_text(trace, shares[1], 0);
    text.erase(text.find_last_not_of(' ') + 1);
    text += "\n";
  }
  return text;
}

}  // namespace quiver::evaluation
