// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/kmeans.h"

#include <algorithm>
#include <limits>
#include <map>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::clustering {
namespace {

using Points = std::vector<std::vector<double>>;

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// Each further centre is drawn with probability proportional to the squared distance to the nearest one so far.
Points plus_plus_centres(const Points& points, std::size_t count, Random& random) {
  Points centres{points[random.below(points.size())]};
  std::vector<double> nearest(points.size(), std::numeric_limits<double>::infinity());
  while (centres.size() < count) {
    double total = 0.0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      nearest[i] = std::min(nearest[i], squared_distance(points[i], centres.back()));
      total += nearest[i];
    }
    double left = random.uniform() * total;
    std::size_t chosen = 0;
    while (chosen + 1 < points.size() && (left -= nearest[chosen]) >= 0) ++chosen;
    centres.push_back(points[chosen]);
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

KMeansResult k_means(const Points& points, const KMeansOptions& options) {
  QUIVER_CHECK(options.clusters >= 1 && options.clusters <= points.size(), usage, "--clusters",
               "{}, expected 1 to {} (the experts)", options.clusters, points.size());
  Random random(options.seed);
  KMeansResult best;
  best.inertia = std::numeric_limits<double>::infinity();
  for (int start = 0; start < std::max(1, options.starts); ++start) {
    auto result = one_start(points, options, random);
    if (result.inertia < best.inertia) best = std::move(result);
  }
  std::map<std::size_t, std::size_t> renamed;
  for (auto& c : best.cluster) c = renamed.try_emplace(c, renamed.size()).first->second;
  return best;
}

}  // namespace quiver::clustering
