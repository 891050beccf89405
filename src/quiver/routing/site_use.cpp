// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/site_use.h"

#include "quiver/base/error.h"

namespace quiver::routing {

void check_site_experts(const adapter::Bank& bank, const std::string& route) {
  for (std::int64_t e = 0; e < bank.size(); ++e) {
    QUIVER_CHECK(
        !bank.reads_before_prompt(e), unsupported, "route " + route,
        "expert '{}' has {} before the prompt, which a choice by site or token cannot apply; leave it out with "
        "--exclude",
        bank.names()[static_cast<std::size_t>(e)], bank.prefix(e).defined() ? "keys and values" : "vectors");
  }
  for (std::size_t s = 0; s < bank.model_sites().size(); ++s) {
    QUIVER_CHECK(
        !bank.reads_block(static_cast<std::int64_t>(s)), unsupported, "route " + route,
        "an expert has a bottleneck beside the block that {} ends, which a choice by site or token cannot apply",
        bank.model_sites()[s].name);
  }
}

}  // namespace quiver::routing
