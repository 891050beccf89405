// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/workspace/cluster_experts.h"

namespace quiver::cli {
namespace {

struct Options {
  std::string library;
  std::vector<std::string> experts, add;
  workspace::ExpertSources sources;
  workspace::Query query;
  clustering::MbcOptions mbc;
  clustering::RetrievalOptions retrieval;
  OptionSet set;
  bool incremental = false, json = false;

  bool asks_nearest() const { return !query.expert.empty() || !query.text.empty(); }
  bool extends() const { return incremental || !add.empty(); }
};

nlohmann::json silhouettes_json(const clustering::Clustering& clustering) {
  auto out = nlohmann::json::array();
  for (const auto& [clusters, silhouette] : clustering.silhouettes) {
    out.push_back({{"clusters", clusters}, {"silhouette", silhouette}});
  }
  return out;
}

void print(const Options& o, const clustering::Clustering& clustering, nlohmann::json object) {
  const auto members = clustering.members();
  object["clusters"] = members;
  object["method"] = clustering.method;
  object["embedding"] = clustering::embedding_name(clustering.embedding.kind);
  object["silhouettes"] = silhouettes_json(clustering);
  if (o.json) return print_json(object);
  for (std::size_t c = 0; c < members.size(); ++c) std::printf("cluster %zu: %s\n", c, join(members[c], ", ").c_str());
  if (o.mbc.k_means.clusters > 0 || clustering.silhouettes.empty()) return;
  std::vector<std::string> scores;
  for (const auto& [clusters, silhouette] : clustering.silhouettes)
    scores.push_back(fmt::format("{} {:.3f}", clusters, silhouette));
  std::printf("silhouettes: %s; chosen: %zu\n", join(scores, ", ").c_str(), members.size());
}

void extend(const Options& o, const library::Library& library, Progress& progress) {
  const auto result = workspace::extend_clusters(library, o.add, o.sources, progress);
  auto added = nlohmann::json::array();
  for (const auto& [name, cluster, similarity] : result.added) {
    added.push_back({{"expert", name}, {"cluster", cluster}, {"similarity", similarity}});
    if (!o.json) std::printf("added %s to cluster %zu (similarity %.3f)\n", name.c_str(), cluster, similarity);
  }
  print(o, result.clustering, {{"added", added}});
}

void print_nearest(const Options& o, const library::Library& library, Progress& progress) {
  auto options = o.retrieval;
  options.seed = o.mbc.k_means.seed;
  options.sparsity = o.mbc.embedding.sparsity;
  auto found = nlohmann::json::array();
  const auto nearest = workspace::nearest_experts(library, o.query, o.experts, options, o.sources, progress);
  for (const auto& [name, similarity] : nearest) {
    found.push_back({{"expert", name}, {"similarity", similarity}});
    if (!o.json) std::printf("%8.4f  %s\n", similarity, name.c_str());
  }
  if (o.json) print_json({{"query", o.query.expert.empty() ? o.query.text : o.query.expert}, {"nearest", found}});
}

/// The options that a search for the nearest reads.
std::vector<std::string> nearest_reads(const Options& o) {
  std::vector<std::string> out{"nearest", "nearest-text", "experts", "top"};
  using clustering::Retriever;
  const auto kind = o.query.expert.empty() ? Retriever::text : o.retrieval.kind;
  if (!o.query.expert.empty()) out.push_back("retriever");
  if (kind == Retriever::prototypes) out.push_back("model");
  if (kind == Retriever::text) out.insert(out.end(), {"task", "format"});
  if (kind == Retriever::svd) out.push_back("sparsity");
  if (kind == Retriever::random) out.push_back("seed");
  return out;
}

std::vector<std::string> clustering_reads(const Options& o) {
  std::vector<std::string> out{"experts"};
  for (const auto& name : clustering::read_options(o.mbc)) out.push_back(command_line_name(name).substr(2));
  if (o.mbc.embedding.kind == clustering::Embedding::prototypes) out.push_back("model");
  if (o.mbc.embedding.kind == clustering::Embedding::text) out.insert(out.end(), {"task", "format"});
  return out;
}

/// Each mode is named by the option that chooses it.
void check_read(const Options& o, const CLI::App& app) {
  auto who = "cluster --method " + o.set.find("method")->text() + " --embedding " + o.set.find("embedding")->text();
  auto reads = clustering_reads(o);
  if (o.asks_nearest()) {
    who = o.query.expert.empty() ? "--nearest-text" : "--nearest with --retriever " + o.set.find("retriever")->text();
    reads = nearest_reads(o);
  } else if (o.extends()) {
    who = o.add.empty() ? "--incremental" : "--add";
    reads = {"incremental", "add", "model", "task", "format"};  // as the last clustering was made
  }
  if (app.count("--format") > 0)
    QUIVER_CHECK(!o.sources.tasks.empty(), usage, "--format", "of the files of --task, which is not given");
  reads.insert(reads.end(), {"library", "json"});
  refuse_unread(app, reads, who);
}

void run(const Options& o, const CLI::App& app) {
  check_read(o, app);
  const auto library = library::Library::open(o.library);
  TerminalProgress progress;
  if (o.asks_nearest()) return print_nearest(o, library, progress);
  if (o.extends()) return extend(o, library, progress);
  print(o, workspace::cluster_experts(library, o.experts, o.mbc, o.sources, progress), {});
}

}  // namespace

std::function<void()> declare_cluster(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--library", o->library, "the folder of a library")->required();
  describe(o->mbc, o->set);
  describe(o->retrieval, o->set);
  declare(app, o->set);
  app.add_option("--task", o->sources.tasks,
                 "text: files or folders of the experts' tasks, to compare their sources too");
  app.add_option("--format", o->sources.task_format, "of these files")->capture_default_str();
  app.add_option("--model", o->sources.model, "prototypes: the base model; default: the one the library names");
  app.add_option("--experts", o->experts, "only these experts")->delimiter(',');
  app.add_flag("--incremental", o->incremental,
               "experts that the last clustering lacks join its clusters, by its embedding; no other moves");
  app.add_option("--add", o->add, "the same for these experts alone")->delimiter(',');
  app.add_option("--nearest", o->query.expert, "no clusters: the experts most similar to this one");
  app.add_option("--nearest-text", o->query.text, "the same for a text, against the texts of the experts' tasks")
      ->excludes("--nearest");
  app.add_flag("--json", o->json,
               "one object {clusters, method, embedding, silhouettes}, with added; or {query, nearest}");
  return [o, &app] { run(*o, app); };
}

}  // namespace quiver::cli
