// SPDX-License-Identifier: Apache-2.0
// What a trace says in sum: each expert's share, and each token's experts over all layers.
#pragma once

#include <cstddef>
#include <vector>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

/// Experts by falling mean weight over layers and tokens; those of no weight last, in their own order.
struct ExpertShare {
  std::size_t expert = 0;
  double share = 0;  ///< mean weight, 0 to 1 where mixes sum to 1
};
std::vector<ExpertShare> expert_shares(const Trace& trace);

/// The experts of one token by falling mean weight over the layers; only those with weight.
std::vector<ExpertShare> token_shares(const Trace& trace, std::size_t token);

/// The strongest entry of a mix (the first of equals), or none where it is empty.
const TraceEntry* strongest(const std::vector<TraceEntry>& mix);

}  // namespace quiver::evaluation
