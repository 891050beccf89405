// SPDX-License-Identifier: Apache-2.0
// The makers behind the router table, by family: each file of a family lists its routes.
#pragma once

#include <memory>
#include <vector>

#include "quiver/routing/router_table.h"

namespace quiver::routing {

struct RouteEntry {
  RouteHelp help;
  std::unique_ptr<Router> (*make)(const RouteSpec&, const RouterInputs&);
};

std::vector<RouteEntry> constant_routes();  ///< base, expert, mix, uniform, oracle
std::vector<RouteEntry> token_routes();     ///< arrow, spectr, seqr, average-activation, phatgoose
std::vector<RouteEntry> skill_routes();     ///< poly
std::vector<RouteEntry> merge_routes();     ///< merge:METHOD
std::vector<RouteEntry> request_routes();   ///< auto, ariadne, lorauter, text, moa, pemt, attempt, fusion, learned

// What the options of several routes say.
ops::Combine combine_of(const RouteSpec& spec, const std::string& fallback = "outputs");
/// A whole number of at least 1, or `all`, which is 0.
std::int64_t count_of(const RouteSpec& spec, const std::string& key, std::int64_t fallback);
/// Throws Error{usage} where the value is none of `names`; returns its place among them.
std::size_t choice_of(const RouteSpec& spec, const std::string& key, const std::vector<std::string>& names,
                      const std::string& fallback);

}  // namespace quiver::routing
