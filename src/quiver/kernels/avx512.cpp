// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/bodies.h"
#include "quiver/kernels/table.h"

#define QUIVER_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512")))
#define QUIVER_LANES 16

namespace quiver::kernels {
namespace avx512 {
#include "quiver/kernels/entries.h"
}  // namespace avx512

extern const Table kAvx512Table;
const Table kAvx512Table = avx512::kTable;

}  // namespace quiver::kernels
