// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/versions.h"

#include "quiver/routing/router_table.h"

namespace quiver::recipes {
namespace {

/// Verbs, `train METHOD`, `cluster METHOD` and `adapt REGIME` whose results have changed since their first version.
/// Routes have theirs in their own table.
const std::map<std::string, int>& mended() {
  static const std::map<std::string, int> table{
      {"evaluate", 2},  // its routing_accuracy
  };
  return table;
}

int version_of(const std::string& what) {
  const auto found = mended().find(what);
  return found == mended().end() ? 1 : found->second;
}

}  // namespace

nlohmann::json versions_of(const Arguments& command) {
  nlohmann::json out{{command.at(0), version_of(command[0])}};
  for (std::size_t i = 1; i + 1 < command.size(); ++i) {
    const auto& option = command[i];
    if (option == "--route") {
      const auto name = routing::parse_route(command[i + 1]).name;
      out["route " + name] = routing::route_version(name);
    } else if (option == "--method" || option == "--regime") {
      const auto what = command[0] + " " + command[i + 1];
      out[what] = version_of(what);
    }
  }
  return out;
}

}  // namespace quiver::recipes
