// SPDX-License-Identifier: Apache-2.0
// KnOTS (arXiv 2410.19735): the experts' differences side by side, [D_1 ... D_N] = U S [V_1 ... V_N]^T, share the
// output directions U; TIES merges the S V_i^T in that common basis, and U times the merged matrix is the result.
//
// As the authors' code has it, `density` counts over a whole expert (all sites), 1 keeps everything, and lambda is the
// scaling that they search for (0.5 in their language experiments). The SVD is of a matrix no larger than the sum of
// the ranks: U lies in the span of the B_i, the V_i in those of the A_i.
#pragma once

#include "quiver/merging/merge.h"

namespace quiver::merging {

adapter::Adapter merge_knots(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
