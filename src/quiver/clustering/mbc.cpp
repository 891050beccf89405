// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/mbc.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

using nlohmann::json;
constexpr const char* kKind = "clusters";

std::vector<std::vector<double>> rows_of(const at::Tensor& matrix) {
  const auto values = matrix.contiguous();
  const auto columns = values.size(1);
  std::vector<std::vector<double>> out;
  for (std::int64_t i = 0; i < values.size(0); ++i) {
    const double* row = values.const_data_ptr<double>() + i * columns;
    out.emplace_back(row, row + columns);
  }
  return out;
}

}  // namespace

std::size_t Clustering::clusters() const {
  return cluster.empty() ? 0 : *std::max_element(cluster.begin(), cluster.end()) + 1;
}

std::vector<std::vector<std::string>> Clustering::members() const {
  std::vector<std::vector<std::string>> out(clusters());
  for (std::size_t i = 0; i < names.size(); ++i) out[cluster[i]].push_back(names[i]);
  return out;
}

Clustering cluster_library(const library::Library& library, const std::vector<std::string>& names,
                           const MbcOptions& options) {
  std::vector<adapter::Adapter> adapters;
  for (const auto& name : names) adapters.push_back(library.load(name));
  std::vector<const adapter::Adapter*> pointers;
  for (const auto& adapter : adapters) pointers.push_back(&adapter);

  const auto similarity = cosine_similarity(gram_matrix(pointers, options.embedding), options.embedding.components);
  Clustering out;
  out.names = names;
  out.similarity = rows_of(similarity);
  out.cluster = k_means(out.similarity, options.k_means).cluster;
  for (const auto& row : rows_of(plane_positions(similarity))) out.positions.emplace_back(row[0], row[1]);

  const json file{
      {"names", out.names}, {"cluster", out.cluster}, {"similarity", out.similarity}, {"positions", out.positions}};
  library.write_derived(kKind, library.contents_key(library.names()), "json",
                        [&](const fs::path& path) { write_file_atomically(path, file.dump(1) + "\n"); });
  return out;
}

std::optional<Clustering> read_clustering(const library::Library& library) {
  const auto path = library.derived(kKind, library.contents_key(library.names()), "json");
  if (!path) return std::nullopt;
  try {
    const auto file = json::parse(read_file(*path, 1 << 28));
    Clustering out;
    file.at("names").get_to(out.names);
    file.at("cluster").get_to(out.cluster);
    file.at("similarity").get_to(out.similarity);
    file.at("positions").get_to(out.positions);
    QUIVER_CHECK(out.cluster.size() == out.names.size(), format, path->string(), "{} clusters for {} experts",
                 out.cluster.size(), out.names.size());
    return out;
  } catch (const json::exception& error) {
    fail(ErrorCode::format, path->string(), "not a clustering ({}); 'quiver cluster' writes it again", error.what());
  }
}

}  // namespace quiver::clustering
