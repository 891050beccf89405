// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_spec.h"

#include <algorithm>
#include <charconv>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {

std::optional<std::string> RouteSpec::find(const std::string& key) const {
  const auto found =
      std::find_if(options.begin(), options.end(), [&](const auto& option) { return option.first == key; });
  return found == options.end() ? std::nullopt : std::optional(found->second);
}

double RouteSpec::number(const std::string& key, double fallback) const {
  const auto value = find(key);
  if (!value) return fallback;
  double out = 0.0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), out);
  QUIVER_CHECK(error == std::errc() && end == value->data() + value->size(), usage, "--route " + text,
               "{}={}, expected a number", key, *value);
  return out;
}

bool RouteSpec::flag(const std::string& key, bool fallback) const {
  const auto value = find(key);
  if (!value) return fallback;
  QUIVER_CHECK(*value == "true" || *value == "false", usage, "--route " + text, "{}={}, expected true or false", key,
               *value);
  return *value == "true";
}

void RouteSpec::check_options(const std::vector<std::string>& known) const {
  QUIVER_CHECK(argument.empty(), usage, "--route " + text, "'{}', expected key=value{}", argument,
               suggestion(argument, known));
  for (const auto& [key, value] : options) {
    QUIVER_CHECK(std::find(known.begin(), known.end(), key) != known.end(), usage, "--route " + text,
                 "no option '{}'{}", key, suggestion(key, known));
  }
}

RouteSpec parse_route(const std::string& text) {
  RouteSpec spec;
  spec.text = text;
  const auto colon = text.find(':');
  spec.name = text.substr(0, colon);
  QUIVER_CHECK(!spec.name.empty(), usage, "--route", "'{}', expected NAME or NAME:key=value,...", text);
  if (colon == std::string::npos) return spec;
  QUIVER_CHECK(colon + 1 < text.size(), usage, spec.where(), "expected NAME:key=value,... or NAME alone");
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
