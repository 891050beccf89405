// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_entry.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {

std::size_t choice_of(const RouteSpec& spec, const std::string& key, const std::vector<std::string>& names,
                      const std::string& fallback) {
  const auto value = spec.find(key).value_or(fallback);
  const auto found = std::find(names.begin(), names.end(), value);
  QUIVER_CHECK(found != names.end(), usage, "--route " + spec.text, "{}={}, expected {}", key, value,
               join(names, ", "));
  return static_cast<std::size_t>(found - names.begin());
}

ops::Combine combine_of(const RouteSpec& spec, const std::string& fallback) {
  return choice_of(spec, "combine", {"outputs", "factors"}, fallback) == 1 ? ops::Combine::factors
                                                                           : ops::Combine::outputs;
}

std::int64_t count_of(const RouteSpec& spec, const std::string& key, std::int64_t fallback) {
  if (spec.find(key) == "all") return 0;
  const double count = spec.number(key, static_cast<double>(fallback));
  const bool whole = count == static_cast<double>(static_cast<std::int64_t>(count));
  QUIVER_CHECK(whole && (count >= 1 || (count == 0 && !spec.find(key))), usage, "--route " + spec.text,
               "{}={}, expected 1 or more, or all", key, spec.find(key).value_or("0"));
  return static_cast<std::int64_t>(count);
}

}  // namespace quiver::routing
