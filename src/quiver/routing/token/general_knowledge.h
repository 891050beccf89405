// SPDX-License-Identifier: Apache-2.0
// Experts less what all of them know: GenKnowSub (arXiv 2505.10939).
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"

namespace quiver::routing {

/// The bank with `weight` times expert `general` taken from every other one, exactly: factors side by side, rank R +
/// R_g. `general` itself keeps its place and touches no site, so that routes by token do not choose it. What experts have
/// beside factors stays as it is. Throws Error{unsupported} where `general` has more than factors, or an expert with
/// factors scales its outputs.
std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               double weight);

}  // namespace quiver::routing
