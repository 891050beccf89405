// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/mbc.h"

namespace quiver::cli {
namespace {

struct Options {
  std::string library, embedding = "products";
  std::vector<std::string> experts;
  clustering::MbcOptions mbc;
  bool json = false;
};

void run(Options& o) {
  o.mbc.embedding.kind = clustering::embedding_of_name(o.embedding);
  const auto library = library::Library::open(o.library);
  const auto result = clustering::cluster_library(library, o.experts.empty() ? library.names() : o.experts, o.mbc);
  const auto members = result.members();
  if (o.json) return print_json({{"clusters", members}});
  for (std::size_t c = 0; c < members.size(); ++c) std::printf("cluster %zu: %s\n", c, join(members[c], ", ").c_str());
}

}  // namespace

std::function<void()> declare_cluster(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--library", o->library, "the folder of a library")->required();
  app.add_option("--clusters", o->mbc.k_means.clusters, "how many")->capture_default_str();
  app.add_option("--embedding", o->embedding, "products (B A, unchanged by rescaling) or mttl (flattened weights)")
      ->capture_default_str();
  app.add_option("--sparsity", o->mbc.embedding.sparsity, "mttl: share of entries dropped")->capture_default_str();
  app.add_option("--experts", o->experts, "only these experts")->delimiter(',');
  app.add_option("--seed", o->mbc.k_means.seed, "of k-means")->capture_default_str();
  app.add_flag("--json", o->json, "one object {clusters}");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
