// SPDX-License-Identifier: Apache-2.0
// A mix at a site of a bank, as what the model applies there.
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"

namespace quiver::routing {

inline ops::SiteUse use_of(const adapter::Bank& bank, const model::SiteColumns& site, ops::Mix mix,
                           ops::Combine combine = ops::Combine::outputs) {
  return {&bank.site(site.site), std::make_shared<const ops::Mix>(std::move(mix)), site.begin, site.count, combine, {}};
}

}  // namespace quiver::routing
