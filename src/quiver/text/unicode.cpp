// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/unicode.h"

#include <utf8proc.h>

namespace quiver::text {
namespace {

// What the bytes at one place are: a whole character, the beginning of one that the text ends in, or neither.
struct Scan {
  enum class Kind { complete, unfinished, ill_formed } kind;
  std::size_t bytes;  // of the character, or of the maximal ill-formed part
};

unsigned byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

Scan scan_character(std::string_view text, std::size_t at) {
  const unsigned lead = byte_at(text, at);
  if (lead < 0x80) return {Scan::Kind::complete, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Scan::Kind::ill_formed, 1};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates, and what lies above U+10FFFF.
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {Scan::Kind::unfinished, i};
    const unsigned byte = byte_at(text, at + i);
    if (byte < low || byte > high) return {Scan::Kind::ill_formed, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Scan::Kind::complete, length};
}

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

}  // namespace

Character character_at(std::string_view text, std::size_t at) {
  const unsigned lead = byte_at(text, at);
  if (lead < 0x80) return {lead, 1};
  const auto tail = [&](std::size_t i) -> char32_t { return byte_at(text, at + i) & 0x3F; };
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | tail(1), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | tail(1) << 6 | tail(2), 3};
  return {(lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

std::size_t previous_character(std::string_view text, std::size_t at) {
  do {
    --at;
  } while (at > 0 && (byte_at(text, at) & 0xC0) == 0x80);
  return at;
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::size_t valid_utf8_bytes(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto scan = scan_character(text, at);
    if (scan.kind != Scan::Kind::complete) break;
    at += scan.bytes;
  }
  return at;
}

bool is_valid_utf8(std::string_view text) { return valid_utf8_bytes(text) == text.size(); }

std::size_t append_valid_utf8(std::string_view bytes, TrailingBytes trailing, std::string& out) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto scan = scan_character(bytes, at);
    if (scan.kind == Scan::Kind::unfinished && trailing == TrailingBytes::keep) return at;
    out += scan.kind == Scan::Kind::complete ? bytes.substr(at, scan.bytes) : kReplacement;
    at += scan.bytes;
  }
  return at;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  append_valid_utf8(bytes, TrailingBytes::replace, out);
  return out;
}

bool is_white_space(char32_t code_point) {
  if (code_point < 0x80) return code_point == ' ' || (code_point >= 9 && code_point <= 13);
  return code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200A) || code_point == 0x2028 || code_point == 0x2029 ||
         code_point == 0x202F || code_point == 0x205F || code_point == 0x3000;
}

std::size_t skip_white_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const auto [code_point, bytes] = character_at(text, at);
    if (!is_white_space(code_point)) break;
    at += bytes;
  }
  return at;
}

std::size_t skip_white_space_back(std::string_view text, std::size_t at, std::size_t limit) {
  while (at > limit) {
    const auto previous = previous_character(text, at);
    if (!is_white_space(character_at(text, previous).code_point)) break;
    at = previous;
  }
  return at;
}

bool is_numeric(char32_t code_point) {
  if (code_point < 0x80) return code_point >= '0' && code_point <= '9';
  const auto value = category(code_point);
  return value == UTF8PROC_CATEGORY_ND || value == UTF8PROC_CATEGORY_NL || value == UTF8PROC_CATEGORY_NO;
}

bool is_word_character(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

}  // namespace quiver::text
