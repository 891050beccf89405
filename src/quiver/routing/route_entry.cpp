// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_entry.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {

void check_argument(const RouteSpec& spec, const std::string& argument) {
  if (argument.empty()) {
    QUIVER_CHECK(spec.argument.empty(), usage, spec.where(), "'{}', expected key=value", spec.argument);
  } else {
    QUIVER_CHECK(!spec.argument.empty(), usage, spec.where(), "expected {}:{}", spec.name, argument);
  }
}

void check_any(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.bank->size() > 0, usage, spec.where(), "the library has no experts");
}

void check_library(const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(inputs.library, usage, spec.where(), "it needs data kept in a library; give --library DIR");
  check_any(spec, inputs);
}

std::size_t choice_of(const RouteSpec& spec, const std::string& key, const std::vector<std::string>& names,
                      const std::string& fallback) {
  const auto value = spec.find(key).value_or(fallback);
  const auto found = std::find(names.begin(), names.end(), value);
  QUIVER_CHECK(found != names.end(), usage, "--route " + spec.text, "{}={}, expected {}", key, value,
               join(names, ", "));
  return static_cast<std::size_t>(found - names.begin());
}

}  // namespace quiver::routing
