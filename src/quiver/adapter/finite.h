// SPDX-License-Identifier: Apache-2.0
// Numbers of adapters that are none.
#pragma once

#include <string>

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

/// Where the adapter holds NaN or infinity, for messages; empty where every number is finite.
std::string not_finite(const Adapter& adapter);

}  // namespace quiver::adapter
