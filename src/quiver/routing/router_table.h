// SPDX-License-Identifier: Apache-2.0
// All routers by name: the one place that knows them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quiver/routing/route_spec.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

struct RouteHelp {
  std::string name;
  std::string options;  ///< as they are typed: `:NAME`, `:top_k=N|all,temperature=X`
  std::string summary;
};
/// Every route, for --help and for suggestions.
const std::vector<RouteHelp>& route_table();

/// Throws Error{usage} on an unknown route or option, naming the nearest.
std::unique_ptr<Router> make_router(const RouteSpec& spec, const RouterInputs& inputs);

bool is_route(const std::string& name);

/// Throws what make_router would on the route's form alone: its name, options and their values. `routers`: trained
/// routers that will be there, and the route that each is of (gates, poly), which decides on options.
void check_route(const RouteSpec& spec, const std::map<std::string, std::string>& routers);

/// The library's router that the route applies. nullopt: it applies none.
std::optional<std::string> router_asked_for(const RouteSpec& spec);

/// Throws Error{usage} where a router of this name, that `own` prepares or trains, could not be asked for: another
/// route is called so.
void check_router_name(const std::string& name, const std::string& own);

/// Of the route's method, 1 for one that is not in the table: what is stored of results is keyed by it.
int route_version(const std::string& name);

/// True where the route can name rows of any task: all but the oracle, which needs an expert of each row's own task.
bool applies_to_unseen_tasks(const RouteSpec& spec);

}  // namespace quiver::routing
