// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/versions.h"

#include "quiver/routing/router_table.h"

namespace quiver::recipes {
namespace {

/// Verbs, `train METHOD`, `cluster METHOD` and `adapt REGIME` whose results have changed since their first version.
/// Routes have theirs in their own table.
const std::map<std::string, int>& mended() {
  static const std::map<std::string, int> table{
      {"evaluate", 2},  // routing_accuracy
  };
  return table;
}

void add(nlohmann::json& out, const std::string& what, int version) {
  if (version > 1) out[what] = version;
}

void add_mended(nlohmann::json& out, const std::string& what) {
  const auto found = mended().find(what);
  add(out, what, found == mended().end() ? 1 : found->second);
}

}  // namespace

nlohmann::json versions_of(const Arguments& command) {
  auto out = nlohmann::json::object();
  add_mended(out, command.at(0));
  for (std::size_t i = 1; i + 1 < command.size(); ++i) {
    const auto& option = command[i];
    if (option == "--route") {
      const auto name = routing::parse_route(command[i + 1]).name;
      add(out, "route " + name, routing::route_version(name));
    } else if (option == "--method" || option == "--regime") {
      add_mended(out, command[0] + " " + command[i + 1]);
    }
  }
  return out;
}

}  // namespace quiver::recipes
