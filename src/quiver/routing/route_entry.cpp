// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/route_entry.h"

#include "quiver/base/error.h"

namespace quiver::routing {

std::string named_router(const RouteSpec& spec) { return spec.argument; }
std::string router_of_its_name(const RouteSpec& spec) { return spec.name; }

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

}  // namespace quiver::routing
