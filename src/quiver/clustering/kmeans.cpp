// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::clustering {
namespace {

using Points = std::vector<std::vector<double>>;

/// Four sums side by side, since each alone would wait for its own last addition.
double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= a.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) sums[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
  }
  for (; i < a.size(); ++i) sums[0] += (a[i] - b[i]) * (a[i] - b[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// A point with probability proportional to its weight.
std::size_t draw(const std::vector<double>& weights, double total, Random& random) {
  double left = random.uniform() * total;
  std::size_t chosen = 0;
  while (chosen + 1 < weights.size() && (left -= weights[chosen]) >= 0) ++chosen;
  return chosen;
}

/// The squared distances to the nearest centre, were the point `added` a centre too.
std::vector<double> nearer(const Points& points, const std::vector<double>& nearest, std::size_t added) {
  auto out = nearest;
  for (std::size_t i = 0; i < points.size(); ++i) out[i] = std::min(out[i], squared_distance(points[i], points[added]));
  return out;
}

/// Each further centre is, of 2 + ln(count) points drawn by their squared distance to the nearest centre so far, the
/// one that lowers the sum of these distances most.
Points plus_plus_centres(const Points& points, std::size_t count, Random& random) {
  const auto trials = 2 + static_cast<int>(std::log(static_cast<double>(count)));
  Points centres{points[random.below(points.size())]};
  std::vector<double> nearest;
  for (const auto& point : points) nearest.push_back(squared_distance(point, centres[0]));
  while (centres.size() < count) {
    const double total = std::accumulate(nearest.begin(), nearest.end(), 0.0);
    double best = std::numeric_limits<double>::infinity();
    std::size_t chosen = 0;
    std::vector<double> kept;
    for (int trial = 0; trial < trials; ++trial) {
      const auto candidate = draw(nearest, total, random);
      auto now = nearer(points, nearest, candidate);
      const double left = std::accumulate(now.begin(), now.end(), 0.0);
      if (left < best) best = left, chosen = candidate, kept = std::move(now);
    }
    centres.push_back(points[chosen]);
    nearest = std::move(kept);
  }
  return centres;
}

struct Assignment {
  std::vector<std::size_t> cluster;
  std::vector<double> distance;
};

Assignment assign(const Points& points, const Points& centres) {
  Assignment out{std::vector<std::size_t>(points.size(), 0), std::vector<double>(points.size())};
  for (std::size_t i = 0; i < points.size(); ++i) {
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t c = 0; c < centres.size(); ++c) {
      const double d = squared_distance(points[i], centres[c]);
      if (d < best) best = d, out.cluster[i] = c;
    }
    out.distance[i] = best;
  }
  return out;
}

/// Gives each empty cluster the point that lies farthest from its own centre, taken from a cluster that can spare one.
void fill_empty(Assignment& a, std::size_t clusters) {
  std::vector<std::size_t> sizes(clusters, 0);
  for (const auto c : a.cluster) ++sizes[c];
  for (std::size_t empty = 0; empty < clusters; ++empty) {
    if (sizes[empty]) continue;
    std::size_t chosen = a.cluster.size();
    for (std::size_t i = 0; i < a.cluster.size(); ++i) {
      if (sizes[a.cluster[i]] > 1 && (chosen == a.cluster.size() || a.distance[i] > a.distance[chosen])) chosen = i;
    }
    --sizes[a.cluster[chosen]];
    a.cluster[chosen] = empty;
    a.distance[chosen] = 0.0;
    ++sizes[empty];
  }
}

Points means(const Points& points, const std::vector<std::size_t>& cluster, std::size_t clusters) {
  Points centres(clusters, std::vector<double>(points[0].size(), 0.0));
  std::vector<double> sizes(clusters, 0.0);
  for (std::size_t i = 0; i < points.size(); ++i) {
    sizes[cluster[i]] += 1.0;
    for (std::size_t j = 0; j < points[i].size(); ++j) centres[cluster[i]][j] += points[i][j];
  }
  for (std::size_t c = 0; c < clusters; ++c) {
    for (auto& value : centres[c]) value /= sizes[c];
  }
  return centres;
}

KMeansResult one_start(const Points& points, const KMeansOptions& options, Random& random) {
  auto centres = plus_plus_centres(points, options.clusters, random);
  Assignment now = assign(points, centres);
  fill_empty(now, options.clusters);
  for (int i = 0; i < options.max_iterations; ++i) {
    centres = means(points, now.cluster, options.clusters);
    auto next = assign(points, centres);
    fill_empty(next, options.clusters);
    const bool settled = next.cluster == now.cluster;
    now = std::move(next);
    if (settled) break;
  }
  KMeansResult result{now.cluster, 0.0};
  for (const auto d : now.distance) result.inertia += d;
  return result;
}

}  // namespace

void number_by_first_member(std::vector<std::size_t>& cluster) {
  std::map<std::size_t, std::size_t> renamed;
  for (auto& c : cluster) c = renamed.try_emplace(c, renamed.size()).first->second;
}

KMeansResult k_means(const Points& points, const KMeansOptions& options) {
  QUIVER_CHECK(options.clusters >= 1 && options.clusters <= points.size(), usage, "--clusters",
               "{}, expected 1 to {} (the experts)", options.clusters, points.size());
  for (const auto& point : points) {
    const bool finite = std::all_of(point.begin(), point.end(), [](double x) { return std::isfinite(x); });
    QUIVER_CHECK(finite, format, "k-means", "point {} is not of finite numbers", &point - points.data());
  }
  Random random(options.seed);
  KMeansResult best;
  best.inertia = std::numeric_limits<double>::infinity();
  for (int start = 0; start < std::max(1, options.starts); ++start) {
    auto result = one_start(points, options, random);
    if (result.inertia < best.inertia) best = std::move(result);
  }
  number_by_first_member(best.cluster);
  return best;
}

}  // namespace quiver::clustering
