// SPDX-License-Identifier: Apache-2.0
// A mix at a site of a bank, as what the model applies there; and which experts such mixes can hold.
#pragma once

#include <memory>
#include <string>

#include "quiver/adapter/bank.h"

namespace quiver::routing {

inline ops::SiteUse use_of(const adapter::Bank& bank, const model::SiteColumns& site, ops::Mix mix,
                           ops::Combine combine = ops::Combine::outputs) {
  return {&bank.site(site.site), std::make_shared<const ops::Mix>(std::move(mix)), site.begin, site.count, combine, {}};
}

/// Throws Error{unsupported} where an expert has what a route that chooses by token or site cannot apply: vectors
/// before the prompt, or a bottleneck beside a whole block.
void check_site_experts(const adapter::Bank& bank, const std::string& route);

}  // namespace quiver::routing
