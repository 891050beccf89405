// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/version.h"

namespace quiver {

const char* version() { return QUIVER_VERSION; }

}  // namespace quiver
