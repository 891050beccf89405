// SPDX-License-Identifier: Apache-2.0
// Continual merging (MergeRepair, arXiv 2408.09568): the experts are merged one after another, in the order given, so
// that order and weight matter:  M_1 = E_1,  M_k = merge(M_{k-1}, E_k).
//
// A step is the paper's weight averaging (step=linear: the factors' mean with weights 1 - t and t), ties or dare-ties
// (elections whose mean weighs 1 - t and t). t = 0.5 halves the share of all earlier experts at each step.
#pragma once

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// Takes no weights.
adapter::Adapter merge_repair(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
