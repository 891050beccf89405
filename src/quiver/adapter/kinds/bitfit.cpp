// SPDX-License-Identifier: Apache-2.0
// BitFit (Ben Zaken et al., 2022): biases at sites, from 0 on.
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quiver/adapter/kinds/starts.h"

namespace quiver::adapter {

Kind bitfit_kind() {
  return {.name = "bitfit",
          .summary = "biases at sites",
          .traits = {Trait::bias},
          .options = {"kind_targets"},
          .holds =
              [](const Adapter& a) {
                return std::any_of(a.extras.begin(), a.extras.end(),
                                   [](const auto& entry) { return entry.second.bias.defined(); });
              },
          .make =
              [](const NewAdapter& in, Adapter& out) {
                at_sites(in, {}, [&](const model::Site& site, std::size_t) {
                  out.extras[site.name].bias = at::zeros({site.out}, at::kFloat);
                });
              }};
}

}  // namespace quiver::adapter
