// SPDX-License-Identifier: Apache-2.0
// A clustering of a library's experts, and its file among the library's derived data (docs/formats.md).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quiver/clustering/similarity.h"
#include "quiver/library/library.h"

namespace quiver::clustering {

/// How well a number of clusters fits.
struct ScoredCount {
  std::size_t clusters;
  double silhouette;  ///< mean over the experts, of the distance 1 - similarity
};

struct Clustering {
  std::vector<std::string> names;
  std::vector<std::size_t> cluster;             ///< per name
  std::vector<std::vector<double>> similarity;  ///< [N][N]
  std::vector<std::pair<double, double>> positions;
  std::vector<std::string> identities;   ///< per name: the factors that were clustered
  std::string method;                    ///< mbc, agglomerative or random
  EmbeddingOptions embedding;            ///< what the similarity is of
  std::vector<ScoredCount> silhouettes;  ///< of every number of clusters that was tried
  std::size_t clusters() const;
  std::vector<std::vector<std::string>> members() const;
};

/// Fills `identities` and writes it under the experts that the library has now.
void write_clustering(const library::Library& library, Clustering& clustering);

/// The clustering that was computed last over the experts as they are now, or nullopt. Throws Error{format}.
std::optional<Clustering> read_clustering(const library::Library& library);

/// The clustering that was computed last, whichever experts there were then, or nullopt. Throws Error{format}.
std::optional<Clustering> read_last_clustering(const library::Library& library);

}  // namespace quiver::clustering
