// SPDX-License-Identifier: Apache-2.0
// A ROUTE as the user types it: NAME, or NAME:key=value,key=value, or NAME:VALUE,key=value.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quiver/base/options.h"

namespace quiver::routing {

struct RouteSpec {
  std::string text;  ///< as typed
  std::string name;
  std::string argument;  ///< the part after the colon that has no `=` (expert:NAME)
  std::vector<std::pair<std::string, std::string>> options;

  /// `--route TEXT`, for messages.
  std::string where() const { return "--route " + text; }
  /// Gives the described options the values of the spec. Throws Error{usage} on one that is not described (with the
  /// nearest), a value out of range, and one that is given twice.
  void read(OptionSet& set) const { set.assign_all(options, where()); }
};

RouteSpec parse_route(const std::string& text);

/// The options of a route, from these defaults; `describe` is found beside the struct.
template <typename Options>
Options read_options(const RouteSpec& spec, Options options) {
  OptionSet set;
  describe(options, set);
  spec.read(set);
  return options;
}

}  // namespace quiver::routing
