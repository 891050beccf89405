// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/stored_clustering.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

using nlohmann::json;
constexpr const char* kKind = "clusters";

json to_file(const Clustering& c) {
  json silhouettes = json::array();
  for (const auto& [clusters, silhouette] : c.silhouettes) {
    silhouettes.push_back({{"clusters", clusters}, {"silhouette", silhouette}});
  }
  return {{"names", c.names},
          {"cluster", c.cluster},
          {"similarity", c.similarity},
          {"positions", c.positions},
          {"identities", c.identities},
          {"method", c.method},
          {"embedding", embedding_name(c.embedding.kind)},
          {"sparsity", c.embedding.sparsity},
          {"components", c.embedding.components},
          {"silhouettes", silhouettes}};
}

Clustering from_file(const fs::path& path) {
  try {
    const auto file = json::parse(read_file(path, 1 << 28));
    Clustering out;
    file.at("names").get_to(out.names);
    file.at("cluster").get_to(out.cluster);
    file.at("similarity").get_to(out.similarity);
    file.at("positions").get_to(out.positions);
    out.identities = file.value("identities", out.identities);
    out.method = file.value("method", out.method);
    out.embedding.kind = embedding_of_name(file.value("embedding", embedding_name(out.embedding.kind)));
    out.embedding.sparsity = file.value("sparsity", out.embedding.sparsity);
    out.embedding.components = file.value("components", out.embedding.components);
    for (const auto& row : file.value("silhouettes", json::array())) {
      out.silhouettes.push_back({row.at("clusters"), row.at("silhouette")});
    }
    const auto n = out.names.size();
    QUIVER_CHECK(out.cluster.size() == n, format, path.string(), "{} clusters for {} experts", out.cluster.size(), n);
    for (const auto c : out.cluster) {
      QUIVER_CHECK(c < n, format, path.string(), "cluster {} of {} experts", c, n);
    }
    return out;
  } catch (const json::exception& error) {
    fail(ErrorCode::format, path.string(), "not a clustering ({}); 'quiver cluster' writes it again", error.what());
  }
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

void write_clustering(const library::Library& library, Clustering& clustering) {
  clustering.identities.clear();
  for (const auto& name : clustering.names) clustering.identities.push_back(library.info(name).identity);
  library.write_derived(kKind, library.contents_key(), "json",
                        [&](const fs::path& path) { write_file_atomically(path, to_file(clustering).dump(1) + "\n"); });
}

std::optional<Clustering> read_clustering(const library::Library& library) {
  const auto path = library.derived(kKind, library.contents_key(), "json");
  if (!path) return std::nullopt;
  return from_file(*path);
}

std::optional<Clustering> read_last_clustering(const library::Library& library) {
  std::optional<fs::path> last;
  const auto folder = library.folder() / "derived";
  if (!fs::is_directory(folder)) return std::nullopt;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(std::string(kKind) + "-") || entry.path().extension() != ".json") continue;
    if (!last || fs::last_write_time(entry.path()) > fs::last_write_time(*last)) last = entry.path();
  }
  if (!last) return std::nullopt;
  return from_file(*last);
}

}  // namespace quiver::clustering
