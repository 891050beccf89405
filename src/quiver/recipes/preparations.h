// SPDX-License-Identifier: Apache-2.0
// What rows of a recipe apply beside experts: routers and data of routes, which a construction trains or `quiver
// prepare` leaves in the library.
#pragma once

#include "quiver/recipes/recipe.h"

namespace quiver::recipes {

/// The name under which a row's preparation leaves what it makes: of a router, else of the route's data.
std::string kept_by(const Route& row);

/// The rows whose preparation over the library the scores of a route rest on: itself where it prepares, and the last
/// before it, else the next, that leaves what it applies.
std::vector<const Route*> preparations_of(const Recipe& recipe, const Route& route, const std::string& library);

/// Throws Error{usage} on a route that this program does not have, on one that asks a library for a router that nothing
/// leaves there, and on options that the router does not read.
void check_routers(const Recipe& recipe, const Route& route);

/// The same where a regime goes on from skills that the library lacks.
void check_skills(const Recipe& recipe, const Adaptation& adaptation);

}  // namespace quiver::recipes
