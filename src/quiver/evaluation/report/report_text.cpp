// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <cmath>

namespace quiver::evaluation {
namespace {

struct CodePoint {
  std::int32_t value;  ///< negative: not UTF-8
  std::size_t bytes;   ///< at least 1
};

CodePoint next_code_point(std::string_view text) {
  utf8proc_int32_t value = -1;
  const auto read = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &value);
  if (read <= 0) return {-1, 1};
  return {value, static_cast<std::size_t>(read)};
}

bool is_direction_override(std::int32_t value) {
  return (value >= 0x202A && value <= 0x202E) || (value >= 0x2066 && value <= 0x2069);
}

bool is_control(std::int32_t value) { return value < 0x20 || (value >= 0x7F && value < 0xA0); }

}  // namespace

std::string visible_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto [value, bytes] = next_code_point(text);
    if (value == '\n') {
      out += "⏎";
    } else if (value == '\t') {
      out += "⇥";
    } else if (is_direction_override(value)) {
      out += fmt::format("\\u{:04X}", value);
    } else if (is_control(value)) {
      for (const char c : text.substr(0, bytes)) out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

std::string visible_token(std::string_view token) {
  if (token.empty()) return "∅";
  std::string before, after;
  while (token.starts_with(' ')) token.remove_prefix(1), before += "␣";
  while (token.ends_with(' ')) token.remove_suffix(1), after += "␣";
  return before + visible_text(token) + after;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : visible_text(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string shorten(std::string_view text, std::size_t columns) {
  std::string kept;
  for (std::size_t used = 0; !text.empty(); ++used) {
    const auto [value, bytes] = next_code_point(text);
    if (used + 1 >= columns && bytes < text.size()) return kept + "…";
    kept += text.substr(0, bytes);
    text.remove_prefix(bytes);
  }
  return kept;
}

std::string format_percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f}", 100 * share) : "–"; }

std::string format_number(double value) {
  if (!std::isfinite(value)) return "–";
  const double size = std::abs(value);
  if (size >= 1000 && size < 1e9) return fmt::format("{:.0f}", value);
  if (size >= 100 && size < 1000) return fmt::format("{:.1f}", value);
  return size >= 1 && size < 100 ? fmt::format("{:.2f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace quiver::evaluation
