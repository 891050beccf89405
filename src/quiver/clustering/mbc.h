// SPDX-License-Identifier: Apache-2.0
// Model-based clustering (MBC, arXiv 2405.11157): experts grouped by what they learned.
//
// Each expert is described by its cosine similarity to all experts; k-means runs on the rows of that matrix. With
// Embedding::mttl this is MTTL's recipe: factors flattened, small entries dropped, truncated SVD, cosine, k-means++.
#pragma once

#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/clustering/kmeans.h"
#include "quiver/clustering/library_similarity.h"
#include "quiver/clustering/linkage.h"
#include "quiver/clustering/stored_clustering.h"

namespace quiver::clustering {

enum class Method {
  mbc,            ///< k-means on the rows of the similarity matrix
  agglomerative,  ///< by cosine distance 1 - similarity; ward: by the distance sqrt(2 - 2 similarity) of unit vectors
  random,         ///< the paper's control: sizes that differ by one at most, whatever the experts learned
};

struct MbcOptions {
  EmbeddingOptions embedding;
  Method method = Method::mbc;
  Linkage linkage = Linkage::average;  ///< agglomerative
  /// Its number of clusters and its seed are those of every method. 0 clusters (auto): the number with the largest mean
  /// silhouette; of equal ones the smallest.
  KMeansOptions k_means;
  std::size_t min_clusters = 2, max_clusters = 20;  ///< the numbers to choose from, as far as below the experts
};

/// clusters, min_clusters, max_clusters, method, linkage, embedding, sparsity, seed.
void describe(MbcOptions& options, OptionSet& set);
/// Of the options described, those that the method and the embedding chosen read.
std::vector<std::string> read_options(const MbcOptions& options);

struct Grouping {
  std::vector<std::size_t> cluster;      ///< per expert, numbered by first members
  std::vector<ScoredCount> silhouettes;  ///< of the numbers tried that have one: 2 to N - 1
};

/// `similarity`: float64 [N, N]. Throws Error{usage} where the number of clusters is out of range.
Grouping group_experts(const at::Tensor& similarity, const MbcOptions& options);

/// Clusters the library's experts named and writes the result into its derived data. `progress` may be null.
Clustering cluster_library(const library::Library& library, const std::vector<std::string>& names,
                           const MbcOptions& options, const Descriptions& descriptions = {},
                           Progress* progress = nullptr);

}  // namespace quiver::clustering
