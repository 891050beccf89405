// SPDX-License-Identifier: Apache-2.0
// The experts of a library clustered, and those nearest to an expert or a text.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/clustering/incremental.h"
#include "quiver/clustering/mbc.h"
#include "quiver/clustering/retrieval.h"

namespace quiver::workspace {

/// What experts are compared by beside their factors.
struct ExpertSources {
  std::string model;               ///< for Arrow's directions; empty: the base model that the library names
  std::vector<std::string> tasks;  ///< files or folders whose training sources belong to the texts of their experts
  std::string task_format = "auto";
};

/// `experts`: empty: all, anew where one of them is taken away meanwhile. The clusters are kept with the library's
/// derived data; where they cannot be, that is said.
clustering::Clustering cluster_experts(const library::Library& library, const std::vector<std::string>& experts,
                                       const clustering::MbcOptions& options, const ExpertSources& sources,
                                       Progress& progress);

/// Those that the last clustering lacks, or the ones named, join its clusters.
clustering::Extension extend_clusters(const library::Library& library, const std::vector<std::string>& experts,
                                      const ExpertSources& sources, Progress& progress);

/// An expert of the library, or a text where `expert` is empty.
struct Query {
  std::string expert, text;
};

/// The experts (empty: all) most like the query, best first, with their similarity. A text is compared with texts,
/// whatever the options' kind.
std::vector<std::pair<std::string, double>> nearest_experts(const library::Library& library, const Query& query,
                                                            const std::vector<std::string>& experts,
                                                            clustering::RetrievalOptions options,
                                                            const ExpertSources& sources, Progress& progress);

}  // namespace quiver::workspace
