// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

utf8proc_option_t options_of(UnicodeForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

std::string apply(UnicodeForm form, std::string_view text, MatchScratch&) {
  if (is_ascii(text)) return std::string(text);
  utf8proc_uint8_t* result = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &result, options_of(form));
  std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(result, std::free);
  QUIVER_CHECK(size >= 0, format, "normalizer", "{}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(owned.get()), static_cast<std::size_t>(size)};
}

std::string apply(const ReplaceStep& step, std::string_view text, MatchScratch& scratch) {
  return replace_all(step.pattern, text, step.content, scratch);
}

std::string apply(const PrependStep& step, std::string_view text, MatchScratch&) {
  return text.empty() ? std::string() : step.prefix + std::string(text);
}

std::string apply(const LowercaseStep&, std::string_view text, MatchScratch&) {
  constexpr char32_t kCapitalDottedI = 0x130;  // the one letter whose lower case is two characters
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto [code_point, bytes] = character_at(text, at);
    at += bytes;
    if (code_point == kCapitalDottedI) {
      out += "i\xCC\x87";
    } else {
      append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))), out);
    }
  }
  return out;
}

std::string apply(const StripStep& step, std::string_view text, MatchScratch&) {
  const auto first = step.left ? skip_white_space(text, 0) : 0;
  const auto last = step.right ? skip_white_space_back(text, text.size(), first) : text.size();
  return std::string(text.substr(first, last - first));
}

std::string apply(const CharacterMapStep& step, std::string_view text, MatchScratch&) {
  return step.map->apply(text, step.matching, step.kept);
}

std::string apply(const SpacesStep& step, std::string_view text, MatchScratch&) {
  const std::string_view space = step.escape ? kMetaspace : " ";
  std::string out;
  out.reserve(text.size() + text.size() / 2 + space.size());
  if (step.add_prefix && !text.empty()) out += space;
  bool after_space = step.remove_extra;
  for (const char c : text) {
    if (c != ' ') {
      out += c;
    } else if (!after_space) {
      out += space;
    }
    after_space = step.remove_extra && c == ' ';
  }
  while (step.remove_extra && out.ends_with(space)) out.resize(out.size() - space.size());
  return out;
}

}  // namespace

std::string replace_all(const Regex& pattern, std::string_view text, const std::string& content,
                        MatchScratch& scratch) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto match = pattern.find(text, at, scratch);
    if (!match) break;
    out += text.substr(at, match->begin - at);
    out += content;
    at = match->end;
    QUIVER_CHECK(out.size() <= kMaxBytes, format, "normalizer", "replacing makes the text longer than {} bytes",
                 kMaxBytes);
  }
  out += text.substr(at);
  return out;
}

std::string normalize(const Normalizer& normalizer, std::string_view text, MatchScratch& scratch) {
  std::string out(text);
  for (const auto& step : normalizer) {
    out = std::visit([&](const auto& kind) { return apply(kind, out, scratch); }, step);
    QUIVER_CHECK(out.size() <= kMaxBytes, format, "normalizer", "the text becomes longer than {} bytes", kMaxBytes);
  }
  return out;
}

}  // namespace quiver::text
