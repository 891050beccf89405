// SPDX-License-Identifier: Apache-2.0
// Which version of its methods a cell's result is of: a method that was mended never serves what it gave before.
#pragma once

#include <nlohmann/json.hpp>

#include "quiver/recipes/recipe.h"

namespace quiver::recipes {

/// {what: version} of the verb and of every method, route and regime that the command names.
nlohmann::json versions_of(const Arguments& command);

}  // namespace quiver::recipes
