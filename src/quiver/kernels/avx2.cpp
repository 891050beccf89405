// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/bodies.h"
#include "quiver/kernels/table.h"

#define QUIVER_TARGET __attribute__((target("avx2,fma")))
#define QUIVER_LANES 8

namespace quiver::kernels {
namespace avx2 {
#include "quiver/kernels/entries.h"
}  // namespace avx2

extern const Table kAvx2Table;
const Table kAvx2Table = avx2::kTable;

}  // namespace quiver::kernels
