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
  const auto add_route = [&](const std::string& name) { out["route " + name] = routing::route_version(name); };
  const auto method = value_of(command, "--method");
  const auto usual = kUsualMethods.find(verb);
  if (method) add(verb + " " + *method);
  if (method && routing::is_route(*method)) add_route(*method);  // what it trains is applied as that route
  if (!method && usual != kUsualMethods.end()) add(usual->second);
  for (std::size_t i = 1; i + 1 < command.size(); ++i) {
    const auto& option = command[i];
    if (option == "--route") {
      add_route(routing::parse_route(command[i + 1]).name);
    } else if (option == "--regime") {
      add(verb + " " + command[i + 1]);
    }
  }
  return out;
}

}  // namespace quiver::recipes
