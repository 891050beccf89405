// SPDX-License-Identifier: Apache-2.0
// The methods that are sums of experts.
//   linear           sum of w_e D_e: of the factors (PEFT's `linear`, or MTTL's weighted_linear_merge with
//                    convention=mttl), or exactly with combine=products
//   uniform          the mean: of the factors (MTTL's uniform merge), or of the differences with combine=products
//   cat              sum of w_e D_e, exactly
//   svd              the same, truncated to a rank
//   task-arithmetic  lambda sum of w_e D_e, exactly (Ilharco et al., arXiv 2212.04089)
//   subtract         w_0 D_0 - sum of w_e D_e over the others, exactly: forgetting what the others know. With one
//                    expert of general knowledge as the second it is GenKnowSub (arXiv 2505.10939)
#pragma once

#include "quiver/merging/merge.h"

namespace quiver::merging {

adapter::Adapter merge_linear(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_uniform(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_cat(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_svd(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_task_arithmetic(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_subtract(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
