// SPDX-License-Identifier: Apache-2.0
// Prompts of several tasks: a shared one, and factors of each task that it is multiplied by (kinds/mpt.cpp).
#pragma once

#include "quiver/adapter/kinds.h"

namespace quiver::adapter {

/// Of a new prompt, in KindOptions::of.
struct TaskPromptOptions {
  std::int64_t rank = 1;   ///< r
  std::int64_t tasks = 1;  ///< K: what is trained decides it, and no option
};

/// Where Adapter::stored holds the factors: [K, m, r] and [K, r, D], of the adapter as a whole.
inline constexpr const char *kTaskColumns = "prefix_task_cols", *kTaskRows = "prefix_task_rows";

/// The prompt for one of its tasks, [m, D]. Differentiable. Throws Error{mismatch} as of expert `name`.
at::Tensor task_prompt(const Adapter& adapter, std::int64_t task, const std::string& name);

/// The adapter with one pair of factors, the mean of each over its tasks; as it is where it has none.
Adapter for_new_task(Adapter adapter);

}  // namespace quiver::adapter
