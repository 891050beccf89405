// SPDX-License-Identifier: Apache-2.0
// A ROUTE as the user types it: NAME, or NAME:key=value,key=value, or NAME:VALUE.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace quiver::routing {

struct RouteSpec {
  std::string text;  ///< as typed
  std::string name;
  std::string argument;  ///< the part after the colon where it has no `=` (expert:NAME)
  std::vector<std::pair<std::string, std::string>> options;

  std::optional<std::string> find(const std::string& key) const;
  /// The option as a number. Throws Error{usage} naming route, key and value.
  double number(const std::string& key, double fallback) const;
  bool flag(const std::string& key, bool fallback) const;
  /// Throws Error{usage} on an option that is not in `known`, with the nearest name.
  void check_options(const std::vector<std::string>& known) const;
};

RouteSpec parse_route(const std::string& text);

}  // namespace quiver::routing
