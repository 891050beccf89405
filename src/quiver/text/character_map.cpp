// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/character_map.h"

#include <openssl/evp.h>
#include <utf8proc.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr std::uint32_t kValue = 1u << 31;
constexpr std::size_t kMaxGraphemeBytes = 5;

std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

bool ends_string(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
std::uint32_t label(std::uint32_t unit) { return unit & (kValue | 0xFF); }
std::uint32_t offset(std::uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

std::size_t grapheme_bytes(std::string_view text, std::size_t begin) {
  auto [previous, bytes] = character_at(text, begin);
  auto at = begin + bytes;
  utf8proc_int32_t state = 0;
  while (at < text.size()) {
    const auto next = character_at(text, at);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state)) {
      break;
    }
    previous = next.code_point;
    at += next.bytes;
  }
  return at - begin;
}

}  // namespace

CharacterMap CharacterMap::parse(std::string_view bytes, const std::string& where) {
  QUIVER_CHECK(bytes.size() > 4, format, where, "a character map of {} bytes", bytes.size());
  const std::size_t trie_bytes = read_u32(bytes, 0);
  QUIVER_CHECK(trie_bytes > 0 && trie_bytes % 4 == 0 && trie_bytes <= bytes.size() - 4, format, where,
               "a character map of {} bytes cannot hold a trie of {}", bytes.size(), trie_bytes);
  CharacterMap map;
  map.units_.reserve(trie_bytes / 4);
  for (std::size_t at = 4; at < 4 + trie_bytes; at += 4) map.units_.push_back(read_u32(bytes, at));
  map.replacements_ = bytes.substr(4 + trie_bytes);
  map.check(where);
  for (std::size_t i = 0; i < map.plain_.size(); ++i) {
    const auto c = static_cast<char>(i);
    map.plain_[i] = c != '\r' && !map.find({&c, 1}, Want::shortest);
  }
  return map;
}

CharacterMap CharacterMap::parse_base64(std::string_view text, const std::string& where) {
  const auto padding = text.size() - std::min(text.find_last_not_of('=') + 1, text.size());
  QUIVER_CHECK(!text.empty() && text.size() % 4 == 0 && padding <= 2 && text.size() < std::size_t{1} << 30, format,
               where, "expected base64, found {} characters with {} of padding", text.size(), padding);
  std::string bytes(text.size() / 4 * 3, '\0');
  const auto decoded =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  QUIVER_CHECK(decoded == static_cast<int>(bytes.size()), format, where, "expected base64");
  bytes.resize(bytes.size() - padding);
  return parse(bytes, where);
}

// Every unit that a string leads to is among all units, so that one pass finds what a look-up could meet.
void CharacterMap::check(const std::string& where) const {
  QUIVER_CHECK(is_valid_utf8(replacements_), format, where, "the replacements are not UTF-8");
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const auto unit = units_[i];
    if ((unit & kValue) != 0 || !ends_string(unit)) continue;
    const auto end = i ^ offset(unit);
    QUIVER_CHECK(end < units_.size(), format, where, "unit {} points to unit {} of {}", i, end, units_.size());
    const std::size_t position = units_[end] & ~kValue;
    QUIVER_CHECK(
        position < replacements_.size() && (static_cast<unsigned char>(replacements_[position]) & 0xC0) != 0x80, format,
        where, "unit {} points to byte {} of {} bytes of replacements", i, position, replacements_.size());
  }
}

std::string_view CharacterMap::replacement_at(std::uint32_t position) const {
  const auto rest = std::string_view(replacements_).substr(position);
  return rest.substr(0, rest.find('\0'));
}

std::optional<CharacterMap::Found> CharacterMap::find(std::string_view text, Want want) const {
  std::optional<Found> found;
  std::size_t node = offset(units_[0]);
  for (std::size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const std::uint32_t byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const auto unit = units_[node];
    node ^= offset(unit);
    if (!ends_string(unit)) continue;
    found = {i + 1, replacement_at(units_[node] & ~kValue)};
    if (want == Want::shortest) break;
  }
  return found;
}

std::string CharacterMap::apply(std::string_view text, MapMatching matching,
                                const std::vector<std::string>& kept) const {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  if (matching == MapMatching::longest) {
    append_longest(text, kept, out);
  } else {
    append_graphemes(text, out);
  }
  return out;
}

void CharacterMap::append_longest(std::string_view text, const std::vector<std::string>& kept, std::string& out) const {
  for (std::size_t at = 0; at < text.size();) {
    const auto rest = text.substr(at);
    std::size_t keep = 0;
    for (const auto& sequence : kept) {
      if (sequence.size() > keep && rest.starts_with(sequence)) keep = sequence.size();
    }
    const auto found = keep > 0 ? std::optional(Found{keep, rest.substr(0, keep)}) : find(rest, Want::longest);
    if (found) {
      out += found->replacement;
      // A sequence that ends within a character takes the whole of it.
      at += found->bytes;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
    } else {
      const auto bytes = character_at(text, at).bytes;
      out += rest.substr(0, bytes);
      at += bytes;
    }
  }
}

void CharacterMap::append_graphemes(std::string_view text, std::string& out) const {
  for (std::size_t at = 0; at < text.size();) {
    auto plain = at;
    while (plain + 1 < text.size() && is_ascii(text[plain]) && is_ascii(text[plain + 1]) &&
           plain_[static_cast<unsigned char>(text[plain])]) {
      ++plain;
    }
    out += text.substr(at, plain - at);
    at = plain;
    const auto bytes = grapheme_bytes(text, at);
    const auto grapheme = text.substr(at, bytes);
    const auto found = bytes <= kMaxGraphemeBytes ? find(grapheme, Want::shortest) : std::nullopt;
    if (found) {
      out += found->replacement;
    } else {
      for (std::size_t i = 0; i < bytes; i += character_at(grapheme, i).bytes) {
        append_character(grapheme.substr(i, character_at(grapheme, i).bytes), out);
      }
    }
    at += bytes;
  }
}

void CharacterMap::append_character(std::string_view character, std::string& out) const {
  const auto found = find(character, Want::shortest);
  out += found ? found->replacement : character;
}

}  // namespace quiver::text
