// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/linkage.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/kmeans.h"

namespace quiver::clustering {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Clusters in the places of points; a joined one takes the place of its second half.
class Agglomeration {
 public:
  Agglomeration(std::vector<std::vector<double>> distance, Linkage linkage)
      : distance_(std::move(distance)), linkage_(linkage), label_(distance_.size()), size_(distance_.size(), 1) {
    std::iota(label_.begin(), label_.end(), std::size_t{0});
    nearest_.resize(distance_.size());
    for (std::size_t i = 0; i < distance_.size(); ++i) find_nearest(i);
  }

  Merge join_nearest(std::size_t new_label) {
    std::size_t i = 0;
    double best = kInfinity;
    for (std::size_t p = 0; p < distance_.size(); ++p) {
      if (size_[p] && to_nearest(p) < best) best = to_nearest(p), i = p;
    }
    const auto j = nearest_[i];
    const Merge merge{std::min(label_[i], label_[j]), std::max(label_[i], label_[j]), best, size_[i] + size_[j]};
    for (std::size_t k = 0; k < distance_.size(); ++k) {
      if (size_[k] && k != i && k != j) distance_[k][j] = distance_[j][k] = joined_distance(i, j, k);
    }
    size_[j] = merge.size;
    size_[i] = 0;
    label_[j] = new_label;
    for (std::size_t k = 0; k <= j; ++k) {
      if (!size_[k]) continue;
      if (k == j || nearest_[k] == i || nearest_[k] == j) {
        find_nearest(k);
      } else if (distance_[k][j] < to_nearest(k)) {
        nearest_[k] = j;
      }
    }
    return merge;
  }

 private:
  double to_nearest(std::size_t p) const { return nearest_[p] == p ? kInfinity : distance_[p][nearest_[p]]; }

  /// Among the clusters after it, so that each pair is looked at once; itself where there are none.
  void find_nearest(std::size_t p) {
    nearest_[p] = p;
    for (std::size_t q = p + 1; q < distance_.size(); ++q) {
      if (size_[q] && distance_[p][q] < to_nearest(p)) nearest_[p] = q;
    }
  }

  double joined_distance(std::size_t i, std::size_t j, std::size_t k) const {
    const double ik = distance_[i][k], jk = distance_[j][k], ij = distance_[i][j];
    const auto ni = static_cast<double>(size_[i]), nj = static_cast<double>(size_[j]);
    const auto nk = static_cast<double>(size_[k]);
    switch (linkage_) {
      case Linkage::average:
        return (ni * ik + nj * jk) / (ni + nj);
      case Linkage::complete:
        return std::max(ik, jk);
      case Linkage::single:
        return std::min(ik, jk);
      case Linkage::ward:
        return std::sqrt(((ni + nk) * ik * ik + (nj + nk) * jk * jk - nk * ij * ij) / (ni + nj + nk));
    }
    fail(ErrorCode::usage, "--linkage", "no linkage {}", static_cast<int>(linkage_));
  }

  std::vector<std::vector<double>> distance_;
  Linkage linkage_;
  std::vector<std::size_t> label_, size_, nearest_;  // by place; size 0: joined into another
};

}  // namespace

std::vector<Merge> agglomerate(std::vector<std::vector<double>> distance, Linkage linkage) {
  const auto n = distance.size();
  Agglomeration state(std::move(distance), linkage);
  std::vector<Merge> merges;
  while (merges.size() + 1 < n) merges.push_back(state.join_nearest(n + merges.size()));
  return merges;
}

std::vector<std::size_t> cut(const std::vector<Merge>& merges, std::size_t clusters) {
  const auto points = merges.size() + 1;
  QUIVER_CHECK(clusters >= 1 && clusters <= points, usage, "--clusters", "{}, expected 1 to {} (the experts)", clusters,
               points);
  // From the last step kept down to the points, each cluster hands its label to its halves.
  const auto kept = points - clusters;
  std::vector<std::size_t> label(points + kept);
  std::iota(label.begin(), label.end(), std::size_t{0});
  for (auto step = kept; step-- > 0;) {
    label[merges[step].first] = label[merges[step].second] = label[points + step];
  }
  label.resize(points);
  number_by_first_member(label);
  return label;
}

}  // namespace quiver::clustering
