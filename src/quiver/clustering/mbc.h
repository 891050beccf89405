// SPDX-License-Identifier: Apache-2.0
// Model-based clustering (MBC, arXiv 2405.11157): experts grouped by what they learned.
//
// Each expert is described by its cosine similarity to all experts; k-means runs on the rows of that matrix.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/clustering/kmeans.h"
#include "quiver/clustering/similarity.h"
#include "quiver/library/library.h"

namespace quiver::clustering {

struct Clustering {
  std::vector<std::string> names;
  std::vector<std::size_t> cluster;             ///< per name
  std::vector<std::vector<double>> similarity;  ///< [N][N]
  std::vector<std::pair<double, double>> positions;
  std::size_t clusters() const;
  std::vector<std::vector<std::string>> members() const;
};

struct MbcOptions {
  EmbeddingOptions embedding;
  KMeansOptions k_means;
};

/// Clusters the library's experts named and writes the result into its derived data.
Clustering cluster_library(const library::Library& library, const std::vector<std::string>& names,
                           const MbcOptions& options);

/// The clustering that was computed last over the experts as they are now, or nullopt.
std::optional<Clustering> read_clustering(const library::Library& library);

}  // namespace quiver::clustering
