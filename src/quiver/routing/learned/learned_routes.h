// SPDX-License-Identifier: Apache-2.0
// Trained routers as routers again.
#pragma once

#include "quiver/routing/route_spec.h"
#include "quiver/routing/router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

/// The route to a router of any kind, by its name.
inline constexpr const char* kAnyRouter = "learned";

/// Throws Error{mismatch} where the bank's experts are not those that it was trained over, or have changed since.
void check_experts(const SavedRouter& saved, const RouterInputs& inputs);

/// Kinds: gates (tensors SITE [E, in]), weights ("weights" [places, E]), xlora (layers.N.weight, layers.N.bias),
/// moa (saved_moa.h), fusion, attempt, pemt, poly. Options of the route stand above those saved. Throws
/// Error{mismatch} as check_experts does.
std::unique_ptr<Router> router_of(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs);

/// Of kind poly: each row under its task's composition of skills.
std::unique_ptr<Router> router_of_skills(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs);

/// The library's router of that name.
std::unique_ptr<Router> make_saved(const std::string& name, const RouteSpec& spec, const RouterInputs& inputs);

}  // namespace quiver::routing
