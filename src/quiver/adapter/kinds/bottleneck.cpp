// SPDX-License-Identifier: Apache-2.0
// Bottlenecks in series, after sites (Houlsby et al., 2019; Pfeiffer et al., 2021).
#include "quiver/adapter/kinds/starts.h"

namespace quiver::adapter {

Kind bottleneck_kind() {
  return {.name = "bottleneck",
          .summary = "bottlenecks in series, after the outputs of attention and MLP",
          .traits = {Trait::bottleneck},
          .place = "bottleneck at a site",
          .options = {"kind_targets", "bottleneck_width", "bottleneck_scale", "nonlinearity"},
          .holds = [](const Adapter& a) { return has_bottleneck(a, ops::Reads::output); },
          .make =
              [](const NewAdapter& in, Adapter& out) {
                make_bottlenecks(in, {model::Role::attention_output, model::Role::down}, ops::Reads::output, out);
              }};
}

}  // namespace quiver::adapter
