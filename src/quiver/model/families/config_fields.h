// SPDX-License-Identifier: Apache-2.0
// Reading config.json.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "quiver/base/error.h"

namespace quiver::model {

/// The field as T, `fallback` where it is absent or null. Throws Error{format} on another type.
template <typename T>
T field(const nlohmann::json& object, const char* key, const std::string& where,
        std::optional<T> fallback = std::nullopt) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    QUIVER_CHECK(fallback.has_value(), format, where, "'{}' is missing", key);
    return *fallback;
  }
  try {
    return found->get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorCode::format, where, "'{}' is {}, which is not of the expected type", key, found->dump().substr(0, 80));
  }
}

/// The first of `architectures`; where it lists none, the `model_type`; else "".
inline std::string architecture_of(const nlohmann::json& config) {
  const auto text = [](const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : ""; };
  const auto listed = config.find("architectures");
  if (listed != config.end() && listed->is_array() && !listed->empty()) return text(listed->front());
  const auto type = config.find("model_type");
  return type == config.end() ? "" : text(*type);
}

}  // namespace quiver::model
