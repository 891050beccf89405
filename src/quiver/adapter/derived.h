// SPDX-License-Identifier: Apache-2.0
// Adapters whose factors, scales, bottlenecks, prompts or prefixes are worked out from other numbers, by the kinds that
// store these (kind.h).
#pragma once

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

/// True where something has to be worked out.
bool derives(const Adapter& adapter);

/// The adapter as it is applied, with nothing stored. Differentiable in its tensors. Throws Error{mismatch} where a
/// place is not among `sites` or shapes do not fit, as expert `name`.
Adapter applied(const Adapter& adapter, const std::vector<model::Site>& sites, const std::string& name);

/// The adapter as files hold it: without what serves training alone.
Adapter kept(const Adapter& adapter);

}  // namespace quiver::adapter
