// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation_interval.h"

#include <cmath>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/student_t.h"

namespace quiver::training {
MeanInterval mean_interval(std::span<const double> values) {
  QUIVER_CHECK(!values.empty(), usage, "interval", "no values");
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() == 1) return {mean, mean, mean};
  double squares = 0.0;
  for (const auto v : values) squares += (v - mean) * (v - mean);
  const double half = student_quantile(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

}  // namespace quiver::training
