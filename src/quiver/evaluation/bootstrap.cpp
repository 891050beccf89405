// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::evaluation {
namespace {

void check(std::size_t scores, const BootstrapOptions& options) {
  QUIVER_CHECK(scores > 0, usage, "bootstrap", "expected at least one score, came none");
  QUIVER_CHECK(options.resamples >= 1, usage, "bootstrap", "expected 1 resample or more, came {}", options.resamples);
  QUIVER_CHECK(options.confidence > 0 && options.confidence < 1, usage, "bootstrap",
               "expected a confidence in (0, 1), came {}", options.confidence);
}

double sum(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

/// The value at a share of sorted values, linear between neighbours.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// min(1, 2 P(X <= min(wins, losses))) for X ~ Binomial(wins + losses, 1/2), in logarithms against underflow.
double sign_test(std::size_t wins, std::size_t losses) {
  const auto n = static_cast<double>(wins + losses);
  double p = 0;
  for (std::size_t k = 0; k <= std::min(wins, losses); ++k) {
    const auto x = static_cast<double>(k);
    p += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) - n * std::log(2.0));
  }
  return std::min(1.0, 2 * p);
}

}  // namespace

Interval bootstrap_mean(std::span<const double> scores, const BootstrapOptions& options) {
  check(scores.size(), options);
  for (const double score : scores) {
    QUIVER_CHECK(std::isfinite(score), usage, "bootstrap", "expected finite scores, came {}", score);
  }
  const auto n = static_cast<double>(scores.size());
  Random random(options.seed);
  std::vector<double> means(static_cast<std::size_t>(options.resamples));
  for (auto& mean : means) {
    double total = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) total += scores[random.below(scores.size())];
    mean = total / n;
  }
  std::sort(means.begin(), means.end());
  const double tail = (1 - options.confidence) / 2;
  return {sum(scores) / n, quantile(means, tail), quantile(means, 1 - tail)};
}

Interval bootstrap_statistic(std::size_t rows, const Statistic& statistic, const BootstrapOptions& options) {
  check(rows, options);
  std::vector<std::size_t> drawn(rows);
  std::iota(drawn.begin(), drawn.end(), std::size_t{0});
  const double value = statistic(drawn);
  Random random(options.seed);
  std::vector<double> values(static_cast<std::size_t>(options.resamples));
  for (auto& resampled : values) {
    for (auto& row : drawn) row = random.below(rows);
    resampled = statistic(drawn);
  }
  std::sort(values.begin(), values.end());
  const double tail = (1 - options.confidence) / 2;
  return {value, quantile(values, tail), quantile(values, 1 - tail)};
}

PairedDifference bootstrap_difference(std::span<const double> first, std::span<const double> second,
                                      const BootstrapOptions& options) {
  QUIVER_CHECK(first.size() == second.size(), mismatch, "bootstrap", "expected pairs, came {} and {} scores",
               first.size(), second.size());
  std::vector<double> differences(first.size());
  PairedDifference result;
  for (std::size_t i = 0; i < first.size(); ++i) {
    differences[i] = first[i] - second[i];
    result.wins += first[i] > second[i];
    result.losses += first[i] < second[i];
  }
  result.difference = bootstrap_mean(differences, options);
  result.sign_test_p = sign_test(result.wins, result.losses);
  return result;
}

}  // namespace quiver::evaluation
