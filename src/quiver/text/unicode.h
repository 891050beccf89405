// SPDX-License-Identifier: Apache-2.0
// UTF-8 and the few Unicode properties that tokenizers ask about. Pure functions; thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quiver::text {

/// The character that stands for bytes that are not UTF-8: U+FFFD.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// The character that stands for a space in SentencePiece's pieces: U+2581.
inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";

/// One decoded character: its code point and the bytes it takes.
struct Character {
  char32_t code_point;
  std::size_t bytes;
};

/// The character at `at` (< text.size()); `text` must be valid UTF-8.
Character character_at(std::string_view text, std::size_t at);
/// Where the character that ends before `at` (> 0) begins.
std::size_t previous_character(std::string_view text, std::size_t at);
void append_utf8(char32_t code_point, std::string& out);

/// Bytes of the longest valid beginning: text.size() where all of it is.
std::size_t valid_utf8_bytes(std::string_view text);
bool is_valid_utf8(std::string_view text);

enum class TrailingBytes { keep, replace };

/// Appends `bytes` to `out`, each maximal ill-formed part replaced by U+FFFD (Unicode 3.9, as browsers, Rust and Python
/// do). Returns how many bytes were used up: with `keep`, an unfinished character at the end is left for a later call.
std::size_t append_valid_utf8(std::string_view bytes, TrailingBytes trailing, std::string& out);
std::string to_valid_utf8(std::string_view bytes);

/// Unicode's White_Space property.
bool is_white_space(char32_t code_point);
/// The first place from `at` on that is not white space.
std::size_t skip_white_space(std::string_view text, std::size_t at);
/// Where the white space that ends before `at` begins, at `limit` at the earliest.
std::size_t skip_white_space_back(std::string_view text, std::size_t at, std::size_t limit);
/// General category N: decimal digits, letter numbers, other numbers.
bool is_numeric(char32_t code_point);
/// Letters, marks, decimal and letter numbers, connector punctuation.
bool is_word_character(char32_t code_point);

}  // namespace quiver::text
