// SPDX-License-Identifier: Apache-2.0
// Options that many routes have, each with one range and one meaning.
#pragma once

#include "quiver/base/options.h"
#include "quiver/ops/apply_experts.h"

namespace quiver::routing {

/// `combine`: of several experts, outputs or factors.
void describe_combine(OptionSet& set, ops::Combine& value);
/// 1 or more, or `all`, which is 0.
void describe_count(OptionSet& set, const std::string& name, std::int64_t& value, const std::string& help);
/// What scores are divided by. Never 0, for no score could be divided by it: the best alone is top_k=1. The least is
/// far above where float32 ends.
void describe_temperature(OptionSet& set, double& value, const std::string& help);

}  // namespace quiver::routing
