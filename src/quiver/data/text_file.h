// SPDX-License-Identifier: Apache-2.0
// Text files as UTF-8, or refused.
#pragma once

#include <string>
#include <string_view>

#include "quiver/base/files.h"

namespace quiver::data {

/// The file's text without its byte order mark. Throws Error{format} naming file, line and byte where it is UTF-16 or
/// UTF-32, holds a zero byte, or is no UTF-8 (as Latin-1 is not); Error{not_found|io} where it cannot be read.
std::string read_text_file(const fs::path& path);

/// The check alone, of text without a byte order mark.
void check_text(std::string_view text, const std::string& file);

}  // namespace quiver::data
