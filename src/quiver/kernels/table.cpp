// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/table.h"

namespace quiver::kernels {

extern const Table kBaselineTable;
extern const Table kAvx2Table;
extern const Table kAvx512Table;

const Table& table_of(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return kAvx2Table;
    case Isa::avx512:
      return kAvx512Table;
    case Isa::baseline:
      break;
  }
  return kBaselineTable;
}

const Table& active_table() {
  static const Table& table = table_of(active_isa());
  return table;
}

}  // namespace quiver::kernels
