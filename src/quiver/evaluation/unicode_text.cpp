// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/unicode_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "quiver/text/unicode.h"

namespace quiver::evaluation {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2, kDottedI = 0x130, kDotAbove = 0x307;

std::u32string code_points(std::string_view bytes) {
  const auto text = text::to_valid_utf8(bytes);
  std::u32string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto character = text::character_at(text, at);
    out += character.code_point;
    at += character.bytes;
  }
  return out;
}

std::string utf8(std::u32string_view text) {
  std::string out;
  for (const auto c : text) text::append_utf8(c, out);
  return out;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

/// Unicode's White_Space, and the four separators that Python adds.
bool is_space(char32_t c) { return text::is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

/// Passed over where a letter's neighbours decide its case (Unicode 3.13, D136).
bool is_case_ignorable(char32_t c) {
  static constexpr std::u32string_view kMarks =
      U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55"
      U"\uFF07\uFF0E\uFF1A";
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return kMarks.find(c) != std::u32string_view::npos;
  }
}

bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT || c == 0xAA ||
         c == 0xBA;
}

/// A sigma ends a word where a cased letter stands before it and none after it.
bool ends_word(std::u32string_view text, std::size_t at) {
  auto before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  auto after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return before > 0 && is_cased(text[before - 1]) && !(after < text.size() && is_cased(text[after]));
}

}  // namespace

std::string lower(std::string_view bytes) {
  const auto text = code_points(bytes);
  std::u32string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kDottedI) {
      out += U'i';
      out += kDotAbove;
    } else if (text[i] == kCapitalSigma) {
      out += ends_word(text, i) ? kFinalSigma : kSigma;
    } else {
      out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(text[i])));
    }
  }
  return utf8(out);
}

std::vector<std::string> split_words(std::string_view bytes) {
  const auto text = code_points(bytes);
  std::vector<std::string> words;
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if_not(begin, text.end(), is_space);
    const auto end = std::find_if(begin, text.end(), is_space);
    if (begin != end) words.push_back(utf8({begin, end}));
    begin = end;
  }
  return words;
}

std::string strip(std::string_view bytes) {
  const auto text = code_points(bytes);
  const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
  const auto end = std::find_if_not(text.rbegin(), text.rend(), is_space).base();
  return begin < end ? utf8({begin, end}) : "";
}

bool is_word_character(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return c == U'_' || text::is_numeric(c);
  }
}

}  // namespace quiver::evaluation
