// SPDX-License-Identifier: Apache-2.0
// A bottleneck beside each feed-forward block (He et al., 2022).
#include "quiver/adapter/kinds/starts.h"

namespace quiver::adapter {

Kind parallel_mlp_kind() {
  return {.name = "parallel-mlp",
          .summary = "a bottleneck beside each feed-forward block",
          .traits = {Trait::block_bottleneck},
          .place = "bottleneck at a site",
          .options = {"kind_targets", "bottleneck_width", "bottleneck_scale", "nonlinearity"},
          .holds = [](const Adapter& a) { return has_bottleneck(a, ops::Reads::block); },
          .make = [](const NewAdapter& in,
                     Adapter& out) { make_bottlenecks(in, {model::Role::down}, ops::Reads::block, out); }};
}

}  // namespace quiver::adapter
