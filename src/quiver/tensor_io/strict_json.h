// SPDX-License-Identifier: Apache-2.0
// JSON from untrusted files: an object in UTF-8, without keys that stand twice, and bounded in depth and in the length
// of its lists, so that a small file cannot ask for much memory.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace quiver::tensor_io {

struct JsonLimits {
  int depth = 8;                    ///< objects and lists within each other
  std::size_t list_entries = 1000;  ///< of any one list
};

/// Throws Error{format}.
nlohmann::json parse_strict_json(std::string_view text, const JsonLimits& limits, const std::string& where);

/// The start of a value for a message: one line of valid UTF-8, at most some 60 bytes.
std::string excerpt(const nlohmann::json& value);

}  // namespace quiver::tensor_io
