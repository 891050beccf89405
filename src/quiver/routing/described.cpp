// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/described.h"

namespace quiver::routing {

void describe_combine(OptionSet& set, ops::Combine& value) {
  set.choice("combine", value, {{"outputs", ops::Combine::outputs}, {"factors", ops::Combine::factors}},
             "weights on the experts' outputs, or on A and B each for itself");
}

void describe_count(OptionSet& set, const std::string& name, std::int64_t& value, const std::string& help) {
  set.integer(name, value, at_least(1), help).word("all", 0);
}

void describe_temperature(OptionSet& set, double& value, const std::string& help) {
  constexpr double kLeast = 1e-6;
  set.number("temperature", value, at_least(kLeast), help);
}

}  // namespace quiver::routing
