// SPDX-License-Identifier: Apache-2.0
// What may name a tensor or a metadata entry, whatever the format: such a name stands in messages, reports and file
// names of others, so it is kept to one short line of text.
#pragma once

#include <string_view>

namespace quiver::tensor_io {

bool is_utf8(std::string_view text);

/// At most 1,000 bytes of UTF-8 without control characters. The empty name is one.
bool is_plain_name(std::string_view name);

}  // namespace quiver::tensor_io
