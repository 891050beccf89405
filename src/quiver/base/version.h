// SPDX-License-Identifier: Apache-2.0
// The program's version.
#pragma once

namespace quiver {

/// As CMake's project has it.
const char* version();

}  // namespace quiver
