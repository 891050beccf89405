// SPDX-License-Identifier: Apache-2.0
// Prompts through the base model before they are answered: for routers that look at them, and for what is fitted on
// them.
#pragma once

#include <functional>
#include <vector>

#include "quiver/model/packed_batch.h"

namespace quiver::routing {

/// Calls run(first, batch) for prompts [first, first + batch.rows.size()), as many of them together as a pass of 2048
/// tokens takes and at least one; without gradients. Throws Error{usage} on an empty prompt.
void for_passes(const std::vector<std::vector<std::int32_t>>& prompts,
                const std::function<void(std::size_t first, const model::PackedBatch& batch)>& run);

}  // namespace quiver::routing
