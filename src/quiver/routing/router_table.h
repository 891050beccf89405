// SPDX-License-Identifier: Apache-2.0
// All routers by name: the one place that knows them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/routing/route_spec.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

struct RouteHelp {
  std::string name, options, summary;
};
/// Every route, for --help and for suggestions.
const std::vector<RouteHelp>& route_table();

/// Throws Error{usage} on an unknown route or option, naming the nearest.
std::unique_ptr<Router> make_router(const RouteSpec& spec, const RouterInputs& inputs);

/// True where the route can name rows of any task: all but the oracle, which needs an expert of each row's own task.
bool applies_to_unseen_tasks(const RouteSpec& spec);

}  // namespace quiver::routing
