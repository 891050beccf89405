// SPDX-License-Identifier: Apache-2.0
// What the mixes of several sites come to: one low-rank product per site and expert.
#pragma once

#include "quiver/ops/apply_experts.h"

namespace quiver::ops {

/// One group of one site's mix with its expert's factors.
struct Piece {
  const SiteUse* site = nullptr;
  const MixGroup* group = nullptr;
  const LoraFactors* factors = nullptr;
};

/// Calls visit(piece) for each group whose expert touches its site.
template <typename Visit>
void for_each_piece(const std::vector<SiteUse>& sites, Visit visit) {
  for (const auto& site : sites) {
    for (const auto& group : site.mix->groups) {
      const auto& factors = site.bank->experts[static_cast<std::size_t>(group.expert)];
      if (factors.a.defined()) visit(Piece{&site, &group, &factors});
    }
  }
}

}  // namespace quiver::ops
