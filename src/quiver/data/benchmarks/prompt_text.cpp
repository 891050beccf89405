// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/prompt_text.h"

#include <cctype>

#include "quiver/base/strings.h"
#include "quiver/text/regex.h"
#include "quiver/text/unicode.h"

namespace quiver::data {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

}  // namespace

std::string pad_punctuation(std::string_view text) {
  static const auto kPunctuation = text::Regex::compile(R"([^_\s\p{N}\p{L}\p{M}])", "pad_punctuation");
  text::MatchScratch scratch;
  std::string padded;
  std::size_t at = 0;
  while (const auto match = kPunctuation.find(text, at, scratch)) {
    padded += text.substr(at, match->begin - at);
    padded += ' ';
    padded += text.substr(match->begin, match->end - match->begin);
    padded += ' ';
    at = match->end;
  }
  padded += text.substr(at);
  std::string out;
  for (std::size_t i = 0; i < padded.size();) {
    const auto next = text::skip_white_space(padded, i);
    if (next > i) {
      out += ' ';
      i = next;
    } else {
      out += padded[i++];
      // The rest of a character is no place to look for white space.
      while (i < padded.size() && (static_cast<unsigned char>(padded[i]) & 0xC0u) == 0x80u) out += padded[i++];
    }
  }
  return out;
}

std::string strip_markup(std::string_view text) {
  std::string out(text);
  replace_all(out, "<br>", " ");
  replace_all(out, "<b>", "");
  replace_all(out, "</b>", "");
  return out;
}

std::string join_highlights(std::string_view passage) {
  constexpr std::string_view kHighlight = "\n@highlight\n", kEnds = ".?!\"'";
  std::string out;
  for (std::size_t at = 0; at < passage.size();) {
    const auto found = std::min(passage.find(kHighlight, at), passage.size());
    out += passage.substr(at, found - at);
    if (found < passage.size()) {
      const bool ended = found > 0 && kEnds.find(passage[found - 1]) != std::string_view::npos;
      out += ended ? " " : ". ";
    }
    at = found + kHighlight.size();
  }
  return out;
}

std::string mark_span(std::string_view text, std::string_view span, std::size_t index, char mark) {
  std::size_t at = 0;
  for (std::size_t word = 0; word < index; ++word) {
    const auto begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    if (at == begin || at == text.size()) return std::string(text);
    ++at;
  }
  if (span.empty() || text.substr(at, span.size()) != span) return std::string(text);
  std::string out(text.substr(0, at));
  out += mark;
  out += ' ';
  out += span;
  out += ' ';
  out += mark;
  out += text.substr(at + span.size());
  return out;
}

}  // namespace quiver::data
