// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace quiver {

inline constexpr double kNormalQuantile = 1.959964;  ///< the 0.975 quantile of the normal distribution

/// The 0.975 quantile of Student's distribution, `degrees` >= 1: a table, and the Cornish-Fisher series beyond 30,
/// which is right to four digits there.
double student_quantile(std::size_t degrees);

}  // namespace quiver
