// SPDX-License-Identifier: Apache-2.0
// The entries of the router table, by family: each file of a family lists its routes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quiver/routing/described.h"
#include "quiver/routing/router_table.h"

namespace quiver::routing {

struct RouteEntry {
  std::string name;
  std::string argument;  ///< what stands after the colon before any option: NAME, METHOD; empty: nothing may
  std::string summary;
  /// Calls its argument with the described options at their defaults.
  std::function<void(const std::function<void(const OptionSet&)>&)> describe;
  /// Throws Error{usage} where the spec is not one of this route; needs no library.
  std::function<void(const RouteSpec&)> check;
  std::function<std::unique_ptr<Router>(const RouteSpec&, const RouterInputs&)> make;
  int version = 1;  ///< raised when the route gives other results: stored results of earlier ones are not its own
  /// The name of the library's router that it applies; null: none.
  std::function<std::string(const RouteSpec&)> router = nullptr;

  RouteEntry with_version(int number) && {
    version = number;
    return std::move(*this);
  }
  RouteEntry with_router(std::function<std::string(const RouteSpec&)> name) && {
    router = std::move(name);
    return std::move(*this);
  }
};

std::vector<RouteEntry> constant_routes();  ///< base, expert, mix, uniform, oracle
std::vector<RouteEntry> token_routes();     ///< arrow, spectr, seqr, average-activation, phatgoose
std::vector<RouteEntry> skill_routes();     ///< poly
std::vector<RouteEntry> merge_routes();     ///< merge:METHOD
std::vector<RouteEntry> request_routes();   ///< auto, ariadne, lorauter, text
std::vector<RouteEntry> learned_routes();   ///< moa, pemt, attempt, fusion, learned, and what `prepare` trains

/// The router that a route asks for: of its argument, or of its own name.
std::string named_router(const RouteSpec& spec);
std::string router_of_its_name(const RouteSpec& spec);

/// Of a route without options.
struct NoOptions {};
inline void describe(NoOptions&, OptionSet&) {}
/// Options as a spec gives them, and as they are shown. `describe(Options&, OptionSet&)` says what they are.
template <typename Options>
struct SpecOptions {
  Options defaults = {};
  /// Throws Error{usage} where options were given that do not go together; may be null.
  void (*together)(const Options&, const OptionSet& given, const RouteSpec&) = nullptr;

  Options read(const RouteSpec& spec) const {
    auto options = defaults;
    OptionSet set;
    describe(options, set);
    spec.read(set);
    if (together) together(options, set, spec);
    return options;
  }
  void show(const std::function<void(const OptionSet&)>& visit) const {
    auto options = defaults;
    OptionSet set;
    describe(options, set);
    visit(set);
  }
};

/// Throws Error{usage} where the argument is missing, or there is one and the route takes none.
void check_argument(const RouteSpec& spec, const std::string& argument);

/// A route whose options are a struct with a description; `defaults` are what it starts from.
template <typename Options>
RouteEntry route(std::string name, std::string argument, std::string summary, Options defaults,
                 std::unique_ptr<Router> (*make)(const Options&, const RouteSpec&, const RouterInputs&),
                 decltype(SpecOptions<Options>::together) together = nullptr) {
  const SpecOptions<Options> options{std::move(defaults), together};
  const auto read = [argument, options](const RouteSpec& spec) {
    check_argument(spec, argument);
    return options.read(spec);
  };
  RouteEntry entry{std::move(name), std::move(argument), std::move(summary), nullptr, nullptr, nullptr};
  entry.describe = [options](const auto& visit) { options.show(visit); };
  entry.check = [read](const RouteSpec& spec) { read(spec); };
  entry.make = [read, make](const RouteSpec& spec, const RouterInputs& inputs) {
    return make(read(spec), spec, inputs);
  };
  return entry;
}

/// Throws Error{usage} where the bank is empty.
void check_any(const RouteSpec& spec, const RouterInputs& inputs);
/// Throws Error{usage} where the experts are not those of a library, or there are none.
void check_library(const RouteSpec& spec, const RouterInputs& inputs);

}  // namespace quiver::routing
