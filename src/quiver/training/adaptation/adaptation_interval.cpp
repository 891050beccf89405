// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation_interval.h"

#include <array>
#include <cmath>
#include <numeric>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

/// 0.975 quantiles for 1 to 30 degrees of freedom.
constexpr std::array kQuantiles{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
                                2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
                                2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
constexpr double kNormalQuantile = 1.9600;

}  // namespace

MeanInterval mean_interval(std::span<const double> values) {
  QUIVER_CHECK(!values.empty(), usage, "interval", "no values");
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() == 1) return {mean, mean, mean};
  double squares = 0.0;
  for (const auto v : values) squares += (v - mean) * (v - mean);
  const auto freedom = values.size() - 1;
  const double t = freedom <= kQuantiles.size() ? kQuantiles[freedom - 1] : kNormalQuantile;
  const double half = t * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

}  // namespace quiver::training
