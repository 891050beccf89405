// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/incremental.h"
#include "quiver/clustering/mbc.h"
#include "quiver/clustering/retrieval.h"
#include "quiver/routing/token/directions.h"

namespace quiver::cli {
namespace {

struct Options {
  std::string library, clusters = "10", embedding = "products", method = "mbc", linkage = "average", model;
  std::vector<std::string> experts, tasks, add;
  std::string format = "auto", nearest, nearest_text, retriever = "products";
  clustering::MbcOptions mbc;
  clustering::RetrievalOptions retrieval;
  bool incremental = false, json = false;
};

std::vector<at::Tensor> prototypes_of(const Options& o, const library::Library& library,
                                      const std::vector<std::string>& names) {
  TerminalProgress progress;
  ModelOptions model;
  model.model = o.model.empty() ? library.base_model() : o.model;
  ExpertOptions wanted;
  wanted.library = o.library;
  wanted.experts = names;
  const auto loaded = load_model_only(model);
  const auto experts = load_experts(wanted, loaded, progress);
  for (std::int64_t e = 0; e < experts.bank->size(); ++e)
    clustering::require_comparable(experts.names()[static_cast<std::size_t>(e)], experts.bank->expert(e));
  const auto table = routing::library_prototypes(experts.inputs);
  std::vector<at::Tensor> out;
  for (std::size_t s = 0; s < table.sites(); ++s) out.push_back(table.site(static_cast<std::int64_t>(s)));
  return out;
}

/// The training sources of a task, of a chat the words of its turns.
std::string sources_of(const data::Task& task) {
  std::string out;
  for (const auto i : task.rows(data::Split::train)) {
    out += "\n" + task.examples[i].source;
    for (const auto& message : task.examples[i].messages) out += "\n" + message.content;
  }
  return out;
}

std::vector<std::string> texts_of(const Options& o, const library::Library& library,
                                  const std::vector<std::string>& names) {
  auto out = clustering::task_texts(library, names);
  if (o.tasks.empty()) return out;
  std::map<std::string, std::string> sources;
  const auto set = data::read_tasks({o.tasks.begin(), o.tasks.end()}, {data::format_from_name(o.format), 0});
  for (const auto& note : set.notes) TerminalProgress().say(note);
  for (const auto& task : set.tasks) {
    sources[task.name] = sources_of(task);
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const auto& task : library.info(names[i]).tasks) {
      QUIVER_CHECK(sources.count(task), usage, "--task", "expert '{}' learned task '{}', which is not given", names[i],
                   task);
      out[i] += sources[task];
    }
  }
  return out;
}

clustering::Descriptions descriptions_of(const Options& o, const library::Library& library) {
  return {[&](const auto& names) { return prototypes_of(o, library, names); },
          [&](const auto& names) { return texts_of(o, library, names); }};
}

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
  if (!o.mbc.choose_clusters || clustering.silhouettes.empty()) return;
  std::vector<std::string> scores;
  for (const auto& [clusters, silhouette] : clustering.silhouettes)
    scores.push_back(fmt::format("{} {:.3f}", clusters, silhouette));
  std::printf("silhouettes: %s; chosen: %zu\n", join(scores, ", ").c_str(), members.size());
}

void extend(const Options& o, const library::Library& library) {
  TerminalProgress progress;
  const auto result = clustering::add_to_clustering(library, o.add, descriptions_of(o, library), &progress);
  auto added = nlohmann::json::array();
  for (const auto& [name, cluster, similarity] : result.added) {
    added.push_back({{"expert", name}, {"cluster", cluster}, {"similarity", similarity}});
    if (!o.json) std::printf("added %s to cluster %zu (similarity %.3f)\n", name.c_str(), cluster, similarity);
  }
  print(o, result.clustering, {{"added", added}});
}

/// The experts most like the query; they are compared with each other too, where the retriever wants that.
void find_nearest(Options& o, const library::Library& library) {
  auto names = o.experts.empty() ? library.names() : o.experts;
  if (!o.nearest.empty()) {
    library.info(o.nearest);  // an error with the nearest name where there is none
    std::erase(names, o.nearest);
  }
  o.retrieval.kind = clustering::retriever_of_name(o.nearest_text.empty() ? o.retriever : "text");
  auto all = names;
  if (!o.nearest.empty()) all.push_back(o.nearest);
  clustering::RetrievalInputs inputs;
  std::vector<adapter::Adapter> adapters;
  switch (o.retrieval.kind) {
    case clustering::Retriever::random:
      break;
    case clustering::Retriever::prototypes:
      inputs.prototypes = prototypes_of(o, library, all);
      break;
    case clustering::Retriever::text:
      inputs.texts = texts_of(o, library, all);
      inputs.query_text = o.nearest_text.empty() ? inputs.texts.back() : o.nearest_text;
      inputs.texts.resize(names.size());
      break;
    default:
      for (auto& expert : library.load_experts(all)) {
        clustering::require_comparable(expert.info.name, expert.adapter);
        adapters.push_back(std::move(expert.adapter));
      }
      for (const auto& adapter : adapters) inputs.experts.push_back(&adapter);
      inputs.experts.pop_back();
      inputs.query = &adapters.back();
  }
  auto found = nlohmann::json::array();
  for (const auto& [name, similarity] : clustering::retrieve(names, inputs, o.retrieval)) {
    found.push_back({{"expert", name}, {"similarity", similarity}});
    if (!o.json) std::printf("%8.4f  %s\n", similarity, name.c_str());
  }
  const auto& query = o.nearest.empty() ? o.nearest_text : o.nearest;
  if (o.json) print_json({{"query", query}, {"nearest", found}});
}

/// work(names) over the experts asked for; over all, anew where one of them was taken away meanwhile.
template <typename Work>
auto over_experts(const Options& o, const library::Library& library, Work work) {
  constexpr int kAttempts = 8;
  for (int attempt = 1;; ++attempt) {
    const auto names = o.experts.empty() ? library.names() : o.experts;
    try {
      return work(names);
    } catch (const Error& error) {
      const bool there =
          std::all_of(names.begin(), names.end(), [&](const auto& name) { return library.contains(name); });
      if (!o.experts.empty() || there || attempt == kAttempts) throw;
    }
  }
}

/// What the choices read of the options; each mode is named by the option that chooses it.
void check_read(const Options& o, const CLI::App& app) {
  std::vector<std::string> reads{"library", "json"};
  std::string who = "cluster --method " + o.method + " --embedding " + o.embedding;
  const auto read = [&](std::initializer_list<const char*> more) { reads.insert(reads.end(), more.begin(), more.end()); };
  const auto described = [&](bool prototypes, bool text) {
    if (prototypes) read({"model"});
    if (text) read({"task", "format"});
  };
  if (!o.nearest.empty() || !o.nearest_text.empty()) {
    const bool of_text = !o.nearest_text.empty();
    who = of_text ? "--nearest-text" : "--nearest with --retriever " + o.retriever;
    read({"nearest", "nearest-text", "experts", "top"});
    if (!of_text) read({"retriever"});
    described(!of_text && o.retriever == "prototypes", of_text || o.retriever == "text");
    if (!of_text && o.retriever == "svd") read({"sparsity"});
    if (!of_text && o.retriever == "random") read({"seed"});
  } else if (o.incremental || !o.add.empty()) {
    who = o.add.empty() ? "--incremental" : "--add";
    read({"incremental", "add"});
    described(true, true);  // as the last clustering was made
  } else {
    read({"clusters", "method", "embedding", "experts"});
    if (o.clusters == "auto") read({"min-clusters", "max-clusters"});
    if (o.method == "agglomerative") {
      read({"linkage"});
    } else {
      read({"seed"});
    }
    described(o.embedding == "prototypes", o.embedding == "text");
    if (o.embedding == "mttl") read({"sparsity"});
  }
  if (app.count("--format") > 0)
    QUIVER_CHECK(!o.tasks.empty(), usage, "--format", "of the files of --task, which is not given");
  refuse_unread(app, reads, who);
}

void run(Options& o, const CLI::App& app) {
  auto& k_means = o.mbc.k_means;
  o.mbc.choose_clusters = o.clusters == "auto";
  if (!o.mbc.choose_clusters) {
    const auto* end = o.clusters.data() + o.clusters.size();
    const auto parsed = std::from_chars(o.clusters.data(), end, k_means.clusters);
    QUIVER_CHECK(parsed.ec == std::errc() && parsed.ptr == end, usage, "--clusters", "'{}', expected a number or auto",
                 o.clusters);
  }
  o.mbc.embedding.kind = clustering::embedding_of_name(o.embedding);
  o.mbc.method = clustering::method_of_name(o.method);
  o.mbc.linkage = clustering::linkage_of_name(o.linkage);
  clustering::retriever_of_name(o.retriever);
  QUIVER_CHECK(o.retrieval.top_k >= 0, usage, "--top", "{}, expected 0 (all) or more", o.retrieval.top_k);
  check_read(o, app);
  o.retrieval.seed = k_means.seed;
  o.retrieval.sparsity = o.mbc.embedding.sparsity;
  workspace::refuse_twice(o.experts, "--experts");
  workspace::refuse_twice(o.add, "--add");
  const auto library = library::Library::open(o.library);
  if (!o.nearest.empty() || !o.nearest_text.empty()) return find_nearest(o, library);
  if (o.incremental || !o.add.empty()) return extend(o, library);
  TerminalProgress progress;
  if (const auto line = workspace::strays_line(library); !line.empty() && o.experts.empty()) progress.say(line);
  const auto clustering = over_experts(o, library, [&](const std::vector<std::string>& names) {
    return clustering::cluster_library(library, names, o.mbc, descriptions_of(o, library), &progress);
  });
  if (library.unkept_to_tell()) progress.say(o.library + " cannot be written: the clusters are printed, and not kept");
  print(o, clustering, {});
}

}  // namespace

std::function<void()> declare_cluster(CLI::App& app) {
  auto o = std::make_shared<Options>();
  auto& mbc = o->mbc;
  app.add_option("--library", o->library, "the folder of a library")->required();
  app.add_option("--clusters", o->clusters, "how many; auto: the number with the largest mean silhouette")
      ->capture_default_str();
  app.add_option("--min-clusters", mbc.min_clusters, "auto: the least number")->capture_default_str();
  app.add_option("--max-clusters", mbc.max_clusters, "auto: the largest number")->capture_default_str();
  app.add_option("--method", o->method,
                 "mbc (k-means on the rows of the similarity matrix), agglomerative, or random (the control)")
      ->capture_default_str();
  app.add_option("--linkage", o->linkage, "agglomerative: average, complete, single or ward")->capture_default_str();
  auto* embedding = app.add_option("--embedding", o->embedding,
                                   "what experts are compared by: products (B A, unchanged by rescaling), mttl "
                                   "(flattened weights), prototypes (Arrow's directions) or text (their tasks)")
                        ->capture_default_str();
  app.add_option("--sparsity", mbc.embedding.sparsity, "mttl, svd: share of entries dropped")->capture_default_str();
  app.add_option("--task", o->tasks, "text: files or folders of the experts' tasks, to compare their sources too");
  app.add_option("--format", o->format, "of these files")->capture_default_str();
  app.add_option("--model", o->model, "prototypes: the base model; default: the one the library names");
  app.add_option("--experts", o->experts, "only these experts")->delimiter(',');
  app.add_option("--seed", mbc.k_means.seed, "of k-means and of random")->capture_default_str();
  app.add_flag("--incremental", o->incremental,
               "experts that the last clustering lacks join its clusters, by its embedding; no other moves")
      ->excludes(embedding);
  app.add_option("--add", o->add, "the same for these experts alone")->delimiter(',')->excludes(embedding);
  app.add_option("--nearest", o->nearest, "no clusters: the experts most similar to this one");
  app.add_option("--nearest-text", o->nearest_text, "the same for a text, against the texts of the experts' tasks")
      ->excludes("--nearest");
  app.add_option("--retriever", o->retriever,
                 "nearest by: products, cosine (of weights), svd (of MTTL's embedding), prototypes, text or random")
      ->capture_default_str();
  app.add_option("--top", o->retrieval.top_k, "how many of them; 0: all")->capture_default_str();
  app.add_flag("--json", o->json,
               "one object {clusters, method, embedding, silhouettes}, with added; or {query, nearest}");
  return [o, &app] { run(*o, app); };
}

}  // namespace quiver::cli
