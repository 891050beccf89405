// SPDX-License-Identifier: Apache-2.0
// New experts join the clusters that exist; no other expert moves.
//
// An expert joins the cluster whose members are, in the mean, most similar to it. New experts do not count as members
// for one another, so that their order plays no part.
#pragma once

#include <string>
#include <vector>

#include "quiver/clustering/library_similarity.h"
#include "quiver/clustering/stored_clustering.h"

namespace quiver::clustering {

struct Placement {
  std::string name;
  std::size_t cluster;
  double similarity;  ///< mean, to the cluster's members
};

/// The cluster with the largest mean of `similarity` to its members; of equal ones the first. `similarity` and
/// `cluster` are per member.
Placement nearest_cluster(const std::string& name, const std::vector<double>& similarity,
                          const std::vector<std::size_t>& cluster);

struct Extension {
  Clustering clustering;
  std::vector<Placement> added;
};

/// Extends the library's last clustering, by its own embedding, to the experts named (empty: all that it lacks), and
/// writes it. Its experts that have left the library are dropped; those whose factors have changed since are placed
/// anew. Throws Error{not_found} where there is no clustering, Error{usage} where nothing of it is left.
/// `progress` may be null.
Extension add_to_clustering(const library::Library& library, const std::vector<std::string>& names,
                            const Descriptions& descriptions = {}, Progress* progress = nullptr);

}  // namespace quiver::clustering
