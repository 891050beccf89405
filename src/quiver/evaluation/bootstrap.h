// SPDX-License-Identifier: Apache-2.0
// How sure a mean of scores is: percentile bootstrap intervals (Efron, 1979), the same on every machine for one seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace quiver::evaluation {

struct BootstrapOptions {
  /// Resamples drawn, 1 or more. The ends of an interval move by about 1 % of its width at 2000; cost is linear.
  int resamples = 2000;
  /// Share of the resampled means that the interval covers, in (0, 1).
  double confidence = 0.95;
  std::uint64_t seed = 0;
};

struct Interval {
  double mean = 0, low = 0, high = 0;
};

/// The mean of the scores of a test set's rows, and the interval of it. Where all scores are equal the interval has no
/// width: few rows that agree say less than it seems. Throws Error{usage} on no scores or one that is not finite.
Interval bootstrap_mean(std::span<const double> scores, const BootstrapOptions& options = {});

/// A number of a whole test set, from the rows that are drawn, by their indices.
using Statistic = std::function<double(std::span<const std::size_t> rows)>;

/// The statistic of rows 0 to rows - 1, and its interval over resampled rows. Costs a call for each resample.
Interval bootstrap_statistic(std::size_t rows, const Statistic& statistic, const BootstrapOptions& options = {});

/// Two systems on the same rows.
struct PairedDifference {
  Interval difference;     ///< of first minus second, rows resampled as pairs; without 0 in it they differ
  std::size_t wins = 0;    ///< rows where first scores higher
  std::size_t losses = 0;  ///< rows where second does
  double sign_test_p = 1;  ///< two-sided exact sign test over wins and losses
};

/// Throws Error{mismatch} where the systems have different numbers of rows.
PairedDifference bootstrap_difference(std::span<const double> first, std::span<const double> second,
                                      const BootstrapOptions& options = {});

}  // namespace quiver::evaluation
