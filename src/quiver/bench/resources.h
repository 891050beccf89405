// SPDX-License-Identifier: Apache-2.0
// What the process has used.
#pragma once

#include <functional>

namespace quiver::bench {

double seconds_of(const std::function<void()>& work);

/// The most memory the process has held, in MiB (resident set, mapped files included).
double peak_memory_mib();

}  // namespace quiver::bench
