// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/incremental.h"

#include <algorithm>
#include <set>

#include "quiver/base/error.h"
#include "quiver/clustering/kmeans.h"

namespace quiver::clustering {
namespace {

/// The part of the clustering whose experts are as they were, without those in `anew`.
Clustering still_true(const library::Library& library, const Clustering& last, const std::set<std::string>& anew) {
  Clustering out;
  if (last.identities.size() != last.names.size()) return out;  // a file that does not say what was clustered
  for (std::size_t i = 0; i < last.names.size(); ++i) {
    const auto& name = last.names[i];
    if (anew.count(name) || !library.contains(name) || library.info(name).identity != last.identities[i]) continue;
    out.names.push_back(name);
    out.cluster.push_back(last.cluster[i]);
  }
  number_by_first_member(out.cluster);
  return out;
}

}  // namespace

Placement nearest_cluster(const std::string& name, const std::vector<double>& similarity,
                          const std::vector<std::size_t>& cluster) {
  QUIVER_CHECK(!cluster.empty(), usage, "expert " + name, "no cluster to join");
  std::vector<double> sums(*std::max_element(cluster.begin(), cluster.end()) + 1, 0.0), sizes(sums);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    sums[cluster[i]] += similarity[i];
    sizes[cluster[i]] += 1.0;
  }
  Placement best{name, cluster[0], sums[cluster[0]] / sizes[cluster[0]]};
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (sizes[c] == 0.0) continue;
    const double mean = sums[c] / sizes[c];
    if (mean > best.similarity || (mean == best.similarity && c < best.cluster)) best = {name, c, mean};
  }
  return best;
}

Extension add_to_clustering(const library::Library& library, const std::vector<std::string>& names,
                            const Descriptions& descriptions, Progress* progress) {
  const auto last = read_last_clustering(library);
  QUIVER_CHECK(last, not_found, library.folder().string(), "no clustering to add to; run 'quiver cluster' first");
  Extension out{still_true(library, *last, {names.begin(), names.end()}), {}};
  auto& c = out.clustering;
  QUIVER_CHECK(!c.names.empty(), usage, library.folder().string(),
               "none of the experts that were clustered is still as it was; run 'quiver cluster' again");
  const auto members = c.cluster;
  std::set<std::string> known(c.names.begin(), c.names.end());
  for (const auto& name : names.empty() ? library.names() : names) {
    if (known.insert(name).second) c.names.push_back(name);
  }
  const auto similarity = library_similarity(library, c.names, last->embedding, descriptions, progress);
  c.similarity = rows_of(similarity);
  for (auto i = members.size(); i < c.names.size(); ++i) {
    out.added.push_back(nearest_cluster(c.names[i], c.similarity[i], members));
    c.cluster.push_back(out.added.back().cluster);
  }
  for (const auto& row : rows_of(plane_positions(similarity))) c.positions.emplace_back(row[0], row[1]);
  c.method = last->method;
  c.embedding = last->embedding;
  write_clustering(library, c);
  return out;
}

}  // namespace quiver::clustering
