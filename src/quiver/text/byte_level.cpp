// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/byte_level.h"

#include <array>

#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr int kCharacters = 256 + 68;

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int, kCharacters> byte{};

  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = printable ? static_cast<char32_t>(b) : next++;
      byte[character[b]] = b;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

char32_t byte_to_character(unsigned char byte) { return alphabet().character[byte]; }

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    const auto [code_point, bytes] = character_at(piece, at);
    if (code_point >= kCharacters || alphabet().byte[code_point] < 0) return std::nullopt;
    out += static_cast<char>(alphabet().byte[code_point]);
    at += bytes;
  }
  return out;
}

std::string piece_of_bytes(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) append_utf8(byte_to_character(static_cast<unsigned char>(byte)), out);
  return out;
}

}  // namespace quiver::text
