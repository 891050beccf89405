// SPDX-License-Identifier: Apache-2.0
// The mean over a few repetitions, and how sure it is.
#pragma once

#include <span>

namespace quiver::training {

struct MeanInterval {
  double mean = 0, low = 0, high = 0;
};

/// mean +- t s / sqrt(n), the 95 % interval of Student's t with n - 1 degrees of freedom: right for a handful of seeds,
/// where resampling them would say too little. One value: an interval of no width. Throws Error{usage} on none.
MeanInterval mean_interval(std::span<const double> values);

}  // namespace quiver::training
