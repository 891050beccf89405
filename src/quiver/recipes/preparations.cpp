// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/preparations.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/recipes/plan.h"
#include "quiver/routing/router_table.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/workspace/prepare_routes.h"

namespace quiver::recipes {
namespace {

using routing::RouteSpec;

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The construction whose folder a library is in: of experts that joined another library, that one.
std::string folder_of(const Recipe& recipe, const std::string& library) {
  const auto& over = recipe.construction(library)->over;
  return over.empty() ? library : folder_of(recipe, over);
}

bool prepares_over(const Recipe& recipe, const Route& row, const std::string& library) {
  const auto folder = folder_of(recipe, library);
  return row.prepare && std::any_of(row.libraries.begin(), row.libraries.end(),
                                    [&](const auto& name) { return folder_of(recipe, name) == folder; });
}

/// What the route applies of what a preparation leaves; empty: nothing.
std::string applied_by(const RouteSpec& spec) {
  const auto* help = workspace::preparation_help(spec.name);
  return help ? help->kept() : routing::router_asked_for(spec).value_or("");
}

/// Names of the routers that constructions and rows leave in a library, and the routes that they are of.
std::map<std::string, std::string> routers_in(const Recipe& recipe, const std::string& library) {
  std::map<std::string, std::string> out;
  const auto folder = folder_of(recipe, library);
  for (const auto& c : recipe.constructions) {
    const auto method = train_method(recipe, c);
    // The methods that leave a router are called as the routes that apply it.
    if (folder_of(recipe, c.name) != folder || !routing::is_route(method)) continue;
    if (c.building == Building::each_task) {
      for (const auto& task : tasks_of(recipe, c)) out[expert_name(c, task)] = method;
    } else {
      out[c.name] = method;
    }
  }
  for (const auto& row : recipe.routes) {
    const auto* help = workspace::preparation_help(routing::parse_route(row.prepare_route).name);
    if (help && help->leaves == workspace::Leaves::router && prepares_over(recipe, row, library))
      out[kept_by(row)] = help->route;
  }
  return out;
}

/// Of one library: `text` is the route with {expert} filled in.
void check_in(const Recipe& recipe, const Route& route, const std::string& text, const std::string& library) {
  const auto spec = routing::parse_route(text);
  const auto routers = routers_in(recipe, library);
  routing::check_route(spec, routers);
  const auto router = routing::router_asked_for(spec);
  std::vector<std::string> names;
  for (const auto& [name, of] : routers) names.push_back(name);
  QUIVER_CHECK(!router || routers.contains(*router), usage, spec.where(),
               "nothing in the recipe leaves a router '{}' in library '{}'{}; a row with prepare = true, or a "
               "construction that trains it, does",
               router.value_or(""), library, suggestion(router.value_or(""), names));
  const auto* help = workspace::preparation_help(spec.name);
  QUIVER_CHECK(
      !help || help->leaves == workspace::Leaves::signatures || !preparations_of(recipe, route, library).empty(), usage,
      spec.where(), "nothing in the recipe prepares it over library '{}'; give a row prepare = true", library);
}

}  // namespace

std::string kept_by(const Route& row) {
  const auto spec = routing::parse_route(row.prepare_route);
  const auto* help = workspace::preparation_help(spec.name);
  if (!help) return spec.name;
  const auto named = has(help->reads, "name") ? value_of(row.prepare_arguments, "--name") : std::nullopt;
  return named.value_or(help->kept());
}

std::vector<const Route*> preparations_of(const Recipe& recipe, const Route& route, const std::string& library) {
  std::vector<const Route*> out;
  const auto applied = applied_by(routing::parse_route(route.route));
  if (route.prepare) out.push_back(&route);
  if (applied.empty() || (route.prepare && kept_by(route) == applied)) return out;
  const Route* found = nullptr;
  bool before = true;
  for (const auto& row : recipe.routes) {
    if (&row == &route) before = false;
    const bool leaves = prepares_over(recipe, row, library) && kept_by(row) == applied;
    if (leaves && (before || !found)) found = &row;
  }
  if (found) out.push_back(found);
  return out;
}

void check_routers(const Recipe& recipe, const Route& route) {
  const bool of_task = route.route.find("{expert}") != std::string::npos;
  if (route.libraries.empty()) return routing::check_route(routing::parse_route(route.route), {});
  for (const auto& library : route.libraries) {
    const auto& c = *recipe.construction(library);
    const auto& tasks = tasks_of(recipe, c);
    QUIVER_CHECK(!of_task || (c.building == Building::each_task && !tasks.empty()), usage, "--route " + route.route,
                 "library '{}' has no expert for each task: {{expert}} goes with the kind private", library);
    auto text = route.route;
    if (of_task) replace_all(text, "{expert}", expert_name(c, tasks[0]));
    check_in(recipe, route, text, library);
  }
}

void check_skills(const Recipe& recipe, const Adaptation& adaptation) {
  const bool read = std::any_of(adaptation.regimes.begin(), adaptation.regimes.end(),
                                [](const auto& regime) { return has(training::options_of_regime(regime), "skills"); });
  if (!read) return;
  const auto set = adaptation.options.find("skills");
  const auto wanted = set != adaptation.options.end() ? set->second.value : training::AdaptOptions().skills;
  const auto skills = value_of(adaptation.arguments, "--skills").value_or(wanted);
  const auto routers = routers_in(recipe, adaptation.library);
  std::vector<std::string> names;
  for (const auto& [name, of] : routers) {
    if (of == "poly") names.push_back(name);
  }
  QUIVER_CHECK(has(names, skills), usage, "--skills " + skills,
               "nothing in the recipe trains skills of that name in library '{}'{}", adaptation.library,
               suggestion(skills, names));
}

}  // namespace quiver::recipes
