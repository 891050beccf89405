// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_spec.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {

RouteSpec parse_route(const std::string& text) {
  RouteSpec spec;
  spec.text = text;
  const auto colon = text.find(':');
  spec.name = text.substr(0, colon);
  QUIVER_CHECK(!spec.name.empty(), usage, "--route", "'{}', expected NAME or NAME:key=value,...", text);
  if (colon == std::string::npos) return spec;
  QUIVER_CHECK(colon + 1 < text.size(), usage, spec.where(), "expected NAME:key=value,... or NAME alone");
  if (spec.name == "expert") {  // the name of an adapter's folder may hold anything
    spec.argument = text.substr(colon + 1);
    return spec;
  }
  for (const auto& part : split(text.substr(colon + 1), ',')) {
    const auto equals = part.find('=');
    QUIVER_CHECK(!part.empty(), usage, spec.where(), "an empty part, expected key=value");
    if (equals == std::string::npos) {
      QUIVER_CHECK(spec.argument.empty() && spec.options.empty(), usage, spec.where(), "'{}', expected key=value",
                   part);
      spec.argument = part;
    } else {
      spec.options.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
  }
  return spec;
}

}  // namespace quiver::routing
