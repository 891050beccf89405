// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/router_table.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/learned/learned_routes.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

const std::vector<RouteEntry>& entries() {
  static const std::vector<RouteEntry> table = [] {
    std::vector<RouteEntry> out;
    for (const auto& family :
         {constant_routes(), request_routes(), token_routes(), merge_routes(), skill_routes(), learned_routes()})
      out.insert(out.end(), family.begin(), family.end());
    return out;
  }();
  return table;
}

const RouteEntry* find_entry(const std::string& name) {
  const auto found = std::find_if(entries().begin(), entries().end(), [&](const auto& e) { return e.name == name; });
  return found == entries().end() ? nullptr : &*found;
}

[[noreturn]] void refuse_name(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : entries()) names.push_back(entry.name);
  fail(ErrorCode::usage, "--route", "no route '{}'{}", name, suggestion(name, names));
}

RouteHelp help_of(const RouteEntry& entry) {
  RouteHelp help{entry.name, entry.argument, entry.summary};
  entry.describe([&](const OptionSet& set) {
    const auto options = set.summary();
    help.options += (help.options.empty() || options.empty() ? "" : ",") + options;
  });
  if (!help.options.empty()) help.options.insert(0, ":");
  return help;
}

}  // namespace

const std::vector<RouteHelp>& route_table() {
  static const std::vector<RouteHelp> help = [] {
    std::vector<RouteHelp> out;
    for (const auto& entry : entries()) out.push_back(help_of(entry));
    return out;
  }();
  return help;
}

std::unique_ptr<Router> make_router(const RouteSpec& spec, const RouterInputs& inputs) {
  if (const auto* entry = find_entry(spec.name)) return entry->make(spec, inputs);
  if (inputs.library && has_router(*inputs.library, spec.name)) return make_saved(spec.name, spec, inputs);
  refuse_name(spec.name);
}

bool is_route(const std::string& name) { return find_entry(name) != nullptr; }

void check_route(const RouteSpec& spec, const std::map<std::string, std::string>& routers) {
  const auto* entry = find_entry(spec.name);
  if (entry) entry->check(spec);
  if (entry && entry->name != kAnyRouter) return;
  const auto found = routers.find(entry ? spec.argument : spec.name);
  if (found == routers.end()) {
    if (!entry) refuse_name(spec.name);
    return;
  }
  const auto* of = find_entry(found->second);
  QUIVER_CHECK(of, usage, spec.where(), "router '{}' is of no route '{}'", found->first, found->second);
  auto own = spec;
  own.name = of->name;
  own.argument = of->argument.empty() ? "" : found->first;
  of->check(own);
}

std::optional<std::string> router_asked_for(const RouteSpec& spec) {
  const auto* entry = find_entry(spec.name);
  if (!entry) return spec.name;
  return entry->router ? std::optional(entry->router(spec)) : std::nullopt;
}

void check_router_name(const std::string& name, const std::string& own) {
  QUIVER_CHECK(name == own || !is_route(name), usage, "--name " + name,
               "that is a route already, and --route {} would mean it; choose another name", name);
}

int route_version(const std::string& name) {
  const auto* entry = find_entry(name);
  return entry ? entry->version : 1;
}

bool applies_to_unseen_tasks(const RouteSpec& spec) { return spec.name != "oracle"; }

}  // namespace quiver::routing
