// SPDX-License-Identifier: Apache-2.0
// Every kind of adapter. The order is that of identities: new kinds go last.
#include "quiver/adapter/kind.h"

namespace quiver::adapter {

Kind lora_kind();          // low-rank factors
Kind dora_kind();          // low-rank factors, and the lengths of the weight's rows
Kind vera_kind();          // gains of random factors that all sites share
Kind ia3_kind();           // scales of keys, values and the MLP's inner states
Kind bitfit_kind();        // biases
Kind norms_kind();         // weights of norms
Kind bottleneck_kind();    // bottlenecks in series
Kind compacter_kind();     // the same, their maps sums of Kronecker products
Kind parallel_kind();      // bottlenecks beside sites
Kind parallel_mlp_kind();  // bottlenecks beside feed-forward blocks
Kind prompt_kind();        // vectors before the prompt
Kind mpt_kind();           // the same, times factors of a task
Kind prefix_kind();        // keys and values before the prompt

const std::vector<Kind>& kind_table() {
  static const std::vector<Kind> table{lora_kind(),     dora_kind(),         vera_kind(),       ia3_kind(),
                                       bitfit_kind(),   norms_kind(),        bottleneck_kind(), compacter_kind(),
                                       parallel_kind(), parallel_mlp_kind(), prompt_kind(),     mpt_kind(),
                                       prefix_kind()};
  return table;
}

}  // namespace quiver::adapter
