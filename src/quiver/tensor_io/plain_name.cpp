// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/plain_name.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace quiver::tensor_io {
namespace {

constexpr std::size_t kMaxName_bytes = 1000;

/// Bytes that follow the first one of a code point, or -1 where none can begin so.
int continuation_bytes(unsigned char first) {
  if (first < 0x80) return 0;
  if (first >= 0xC2 && first <= 0xDF) return 1;
  if (first >= 0xE0 && first <= 0xEF) return 2;
  if (first >= 0xF0 && first <= 0xF4) return 3;
  return -1;
}

/// Overlong forms, surrogates and what lies beyond U+10FFFF show in the code point's size.
bool is_code_point(std::uint32_t code, int continuation) {
  constexpr std::uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  return code >= kLeast[continuation] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i++]);
    const int continuation = continuation_bytes(first);
    if (continuation < 0 || text.size() - i < static_cast<std::size_t>(continuation)) return false;
    std::uint32_t code = continuation == 0 ? first : first & (0x3Fu >> continuation);
    for (int j = 0; j < continuation; ++j) {
      const auto next = static_cast<unsigned char>(text[i++]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3Fu);
    }
    if (!is_code_point(code, continuation)) return false;
  }
  return true;
}

bool is_plain_name(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  return name.size() <= kMaxName_bytes && is_utf8(name) && std::none_of(name.begin(), name.end(), is_control);
}

}  // namespace quiver::tensor_io
