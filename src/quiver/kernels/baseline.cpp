// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/bodies.h"
#include "quiver/kernels/table.h"

#define QUIVER_TARGET
#define QUIVER_LANES 4

namespace quiver::kernels {
namespace baseline {
#include "quiver/kernels/entries.h"
}  // namespace baseline

extern const Table kBaselineTable;
const Table kBaselineTable = baseline::kTable;

}  // namespace quiver::kernels
