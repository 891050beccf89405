// SPDX-License-Identifier: Apache-2.0
// Bottlenecks beside sites, from input to output (LLM-Adapters).
#include "quiver/adapter/kinds/starts.h"

namespace quiver::adapter {

Kind parallel_kind() {
  return {.name = "parallel",
          .summary = "bottlenecks beside sites, from input to output",
          .traits = {Trait::bottleneck},
          .place = "bottleneck at a site",
          .options = {"kind_targets", "bottleneck_width", "bottleneck_scale", "nonlinearity"},
          .holds = [](const Adapter& a) { return has_bottleneck(a, ops::Reads::input); },
          .make =
              [](const NewAdapter& in, Adapter& out) {
                make_bottlenecks(in, {model::Role::attention_output, model::Role::down}, ops::Reads::input, out);
              }};
}

}  // namespace quiver::adapter
