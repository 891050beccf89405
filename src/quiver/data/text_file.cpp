// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/text_file.h"

#include <algorithm>
#include <array>
#include <utility>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::data {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// UTF-32's little-endian mark begins with UTF-16's, so it stands first.
constexpr std::array<std::pair<std::string_view, const char*>, 4> kOtherMarks = {
    {{"\xFF\xFE\0\0"sv, "UTF-32"}, {"\0\0\xFE\xFF"sv, "UTF-32"}, {"\xFF\xFE"sv, "UTF-16"}, {"\xFE\xFF"sv, "UTF-16"}}};

std::size_t line_of(std::string_view text, std::size_t at) {
  return 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

}  // namespace

void check_text(std::string_view text, const std::string& file) {
  const auto zero = text.find('\0');
  QUIVER_CHECK(zero == std::string_view::npos, format, fmt::format("{}:{}", file, line_of(text, zero)),
               "expected UTF-8 text, came a zero byte (UTF-16 without its mark, or no text); save the file as UTF-8");
  const auto bad = text::valid_utf8_bytes(text);
  if (bad == text.size()) return;
  fail(ErrorCode::format, fmt::format("{}:{}", file, line_of(text, bad)),
       "expected UTF-8 text, came byte 0x{:02X} at {} of {} (Latin-1 or another encoding?); save the file as UTF-8",
       static_cast<unsigned char>(text[bad]), bad, text.size());
}

std::string read_text_file(const fs::path& path) {
  auto text = read_file(path);
  for (const auto& [mark, name] : kOtherMarks) {
    QUIVER_CHECK(!text.starts_with(mark), format, path.string(), "expected UTF-8 text, came {}; save the file as UTF-8",
                 name);
  }
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  check_text(text, path.string());
  return text;
}

}  // namespace quiver::data
