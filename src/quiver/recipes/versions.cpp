// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/versions.h"

#include <algorithm>

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

/// What verbs do where no --method is given.
const std::map<std::string, std::string> kUsualMethods{{"train", "train lora"}, {"cluster", "cluster mbc"}};

int version_of(const std::string& what) {
  const auto found = mended().find(what);
  return found == mended().end() ? 1 : found->second;
}

}  // namespace

nlohmann::json versions_of(const Arguments& command) {
  const auto& verb = command.at(0);
  nlohmann::json out{{verb, version_of(verb)}};
  const auto add = [&](const std::string& what) { out[what] = version_of(what); };
  const bool chosen = std::find(command.begin(), command.end(), "--method") != command.end();
  const auto usual = kUsualMethods.find(verb);
  if (!chosen && usual != kUsualMethods.end()) add(usual->second);
  for (std::size_t i = 1; i + 1 < command.size(); ++i) {
    const auto& option = command[i];
    if (option == "--route") {
      const auto name = routing::parse_route(command[i + 1]).name;
      out["route " + name] = routing::route_version(name);
    } else if (option == "--method" || option == "--regime") {
      add(verb + " " + command[i + 1]);
    }
  }
  return out;
}

}  // namespace quiver::recipes
