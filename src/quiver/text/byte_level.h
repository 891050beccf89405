// SPDX-License-Identifier: Apache-2.0
// The byte alphabet of GPT-2: each byte is written as one printable character, so that pieces are text in a file.
// Printable Latin-1 bytes stand for themselves; the other 68 are U+0100, U+0101, ... in ascending order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quiver::text {

/// The character that stands for `byte`.
char32_t byte_to_character(unsigned char byte);
/// The bytes that `piece` (valid UTF-8) stands for; nothing when it has a character outside the alphabet.
std::optional<std::string> bytes_of_piece(std::string_view piece);
std::string piece_of_bytes(std::string_view bytes);

}  // namespace quiver::text
