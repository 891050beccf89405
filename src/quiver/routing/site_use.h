// SPDX-License-Identifier: Apache-2.0
// A mix at a site of a bank, as what the model applies there.
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"

namespace quiver::routing {

/// Sites may share a mix.
inline ops::SiteUse use_of(const adapter::Bank& bank, const model::SiteColumns& site,
                           std::shared_ptr<const ops::Mix> mix, ops::Combine combine = ops::Combine::outputs) {
  return {&bank.site(site.site), std::move(mix), site.begin, site.count, combine, {}};
}

inline ops::SiteUse use_of(const adapter::Bank& bank, const model::SiteColumns& site, ops::Mix mix,
                           ops::Combine combine = ops::Combine::outputs) {
  return use_of(bank, site, std::make_shared<const ops::Mix>(std::move(mix)), combine);
}

}  // namespace quiver::routing
