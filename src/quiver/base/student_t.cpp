// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/student_t.h"

#include <array>

namespace quiver {

double student_quantile(std::size_t degrees) {
  constexpr std::array table{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
                             2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
                             2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
  if (degrees <= table.size()) return table[degrees - 1];
  const double n = static_cast<double>(degrees), z = kNormalQuantile, z3 = z * z * z, z5 = z3 * z * z;
  return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n);
}

}  // namespace quiver
