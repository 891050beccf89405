// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/router_table.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/learned/learned_routes.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

const std::vector<RouteEntry>& entries() {
  static const std::vector<RouteEntry> table = [] {
    std::vector<RouteEntry> out;
    for (const auto& family : {constant_routes(), request_routes(), token_routes(), merge_routes(), skill_routes()})
      out.insert(out.end(), family.begin(), family.end());
    return out;
  }();
  return table;
}

}  // namespace

const std::vector<RouteHelp>& route_table() {
  static const std::vector<RouteHelp> help = [] {
    std::vector<RouteHelp> out;
    for (const auto& entry : entries()) out.push_back(entry.help);
    return out;
  }();
  return help;
}

std::unique_ptr<Router> make_router(const RouteSpec& spec, const RouterInputs& inputs) {
  std::vector<std::string> names;
  for (const auto& entry : entries()) {
    if (entry.help.name == spec.name) return entry.make(spec, inputs);
    names.push_back(entry.help.name);
  }
  if (inputs.library && has_router(*inputs.library, spec.name)) return make_saved(spec.name, spec, inputs);
  fail(ErrorCode::usage, "--route", "no route '{}'{}", spec.name, suggestion(spec.name, names));
}

bool applies_to_unseen_tasks(const RouteSpec& spec) { return spec.name != "oracle"; }

}  // namespace quiver::routing
