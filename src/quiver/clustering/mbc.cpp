// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/mbc.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/silhouette.h"

namespace quiver::clustering {
namespace {

const std::vector<std::string> kMethods{"mbc", "agglomerative", "random"};  // in the order of Method

std::vector<std::size_t> random_clusters(std::size_t experts, const KMeansOptions& options) {
  QUIVER_CHECK(options.clusters >= 1 && options.clusters <= experts, usage, "--clusters",
               "{}, expected 1 to {} (the experts)", options.clusters, experts);
  std::vector<std::size_t> order(experts), cluster(experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random(options.seed).shuffle(order);
  for (std::size_t i = 0; i < experts; ++i) cluster[order[i]] = i % options.clusters;
  number_by_first_member(cluster);
  return cluster;
}

/// What puts the experts into a given number of clusters; what all numbers share is done once.
std::function<std::vector<std::size_t>(std::size_t)> grouping_method(const at::Tensor& similarity,
                                                                     const MbcOptions& options) {
  auto k_means_options = options.k_means;
  if (options.method == Method::random) {
    return [=, experts = static_cast<std::size_t>(similarity.size(0))](std::size_t clusters) mutable {
      k_means_options.clusters = clusters;
      return random_clusters(experts, k_means_options);
    };
  }
  if (options.method == Method::agglomerative) {
    const auto apart = (1.0 - similarity).clamp_min(0);
    const auto distance = options.linkage == Linkage::ward ? (2.0 * apart).sqrt() : apart;
    return [merges = agglomerate(rows_of(distance), options.linkage)](std::size_t clusters) {
      return cut(merges, clusters);
    };
  }
  return [=, rows = rows_of(similarity)](std::size_t clusters) mutable {
    k_means_options.clusters = clusters;
    return k_means(rows, k_means_options).cluster;
  };
}

/// The numbers of clusters to try.
std::pair<std::size_t, std::size_t> range_of(std::size_t experts, const MbcOptions& options) {
  if (options.k_means.clusters > 0) return {options.k_means.clusters, options.k_means.clusters};
  QUIVER_CHECK(experts >= 3, usage, "--clusters auto", "{} experts, expected 3 or more", experts);
  QUIVER_CHECK(options.min_clusters >= 2 && options.min_clusters <= options.max_clusters, usage, "--min-clusters",
               "{} to {} clusters, expected 2 or more and an ascending range", options.min_clusters,
               options.max_clusters);
  QUIVER_CHECK(options.min_clusters < experts, usage, "--min-clusters", "{}, expected less than the {} experts",
               options.min_clusters, experts);
  return {options.min_clusters, std::min(options.max_clusters, experts - 1)};
}

}  // namespace

void describe(MbcOptions& o, OptionSet& set) {
  set.group("clusters")
      .integer("clusters", o.k_means.clusters, at_least(0),
               "how many; auto or 0: the number with the largest mean silhouette")
      .word("auto", 0)
      .integer("min_clusters", o.min_clusters, at_least(2), "auto: the least number")
      .integer("max_clusters", o.max_clusters, at_least(2), "auto: the largest number")
      .choice("method", o.method,
              {{"mbc", Method::mbc}, {"agglomerative", Method::agglomerative}, {"random", Method::random}},
              "k-means on the rows of the similarity matrix, a hierarchy, or the control")
      .choice("linkage", o.linkage,
              {{"average", Linkage::average},
               {"complete", Linkage::complete},
               {"single", Linkage::single},
               {"ward", Linkage::ward}},
              "agglomerative: the distance of two clusters")
      .choice("embedding", o.embedding.kind,
              {{"products", Embedding::products},
               {"mttl", Embedding::mttl},
               {"prototypes", Embedding::prototypes},
               {"text", Embedding::text}},
              "what experts are compared by: B A (unchanged by rescaling), flattened weights, Arrow's directions, or "
              "their tasks")
      .number("sparsity", o.embedding.sparsity, from_to_below(0, 1), "mttl, svd: share of entries dropped")
      .integer("seed", o.k_means.seed, at_least(0), "of k-means and of random");
}

std::vector<std::string> read_options(const MbcOptions& o) {
  std::vector<std::string> out{"clusters", "method", "embedding"};
  if (o.k_means.clusters == 0) out.insert(out.end(), {"min_clusters", "max_clusters"});
  out.push_back(o.method == Method::agglomerative ? "linkage" : "seed");
  if (o.embedding.kind == Embedding::mttl) out.push_back("sparsity");
  return out;
}

Grouping group_experts(const at::Tensor& similarity, const MbcOptions& options) {
  const auto experts = static_cast<std::size_t>(similarity.size(0));
  const auto [first, last] = range_of(experts, options);
  const auto group = grouping_method(similarity, options);
  const auto distance = rows_of((1.0 - similarity).clamp_min(0));
  Grouping best;
  double best_silhouette = -2.0;  // below every silhouette
  std::vector<ScoredCount> scores;
  for (auto clusters = first; clusters <= last; ++clusters) {
    auto cluster = group(clusters);
    const bool scored = clusters >= 2 && clusters < experts;
    const double silhouette = scored ? mean_silhouette(distance, cluster) : -1.0;
    if (scored) scores.push_back({clusters, silhouette});
    if (silhouette > best_silhouette) {
      best_silhouette = silhouette;
      best.cluster = std::move(cluster);
    }
  }
  best.silhouettes = std::move(scores);
  return best;
}

Clustering cluster_library(const library::Library& library, const std::vector<std::string>& names,
                           const MbcOptions& options, const Descriptions& descriptions, Progress* progress) {
  const auto similarity = library_similarity(library, names, options.embedding, descriptions, progress);
  auto grouping = group_experts(similarity, options);
  Clustering out;
  out.names = names;
  out.cluster = std::move(grouping.cluster);
  out.similarity = rows_of(similarity);
  for (const auto& row : rows_of(plane_positions(similarity))) out.positions.emplace_back(row[0], row[1]);
  out.method = kMethods[static_cast<std::size_t>(options.method)];
  out.embedding = options.embedding;
  out.silhouettes = std::move(grouping.silhouettes);
  write_clustering(library, out);
  return out;
}

}  // namespace quiver::clustering
