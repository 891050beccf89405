// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/cluster_experts.h"

#include <algorithm>
#include <map>

#include "quiver/base/error.h"
#include "quiver/data/task.h"
#include "quiver/library/listing.h"
#include "quiver/routing/token/directions.h"
#include "quiver/workspace/experts.h"

namespace quiver::workspace {
namespace {

using clustering::Retriever;
using library::Library;

std::vector<at::Tensor> prototypes_of(const Library& library, const std::vector<std::string>& names,
                                      const ExpertSources& sources, Progress& progress) {
  ModelOptions model;
  model.model = sources.model.empty() ? library.base_model() : sources.model;
  ExpertOptions wanted;
  wanted.library = library.folder().string();
  wanted.experts = names;
  const auto experts = load_experts(wanted, load_model_only(model), progress);
  for (std::int64_t e = 0; e < experts.bank->size(); ++e)
    clustering::require_comparable(experts.names()[static_cast<std::size_t>(e)], experts.bank->expert(e));
  const auto table = routing::library_prototypes(experts.inputs);
  std::vector<at::Tensor> out;
  for (std::size_t s = 0; s < table.sites(); ++s) out.push_back(table.site(static_cast<std::int64_t>(s)));
  return out;
}

/// The training sources of a task, of a chat the words of its turns.
std::string training_sources(const data::Task& task) {
  std::string out;
  for (const auto i : task.rows(data::Split::train)) {
    out += "\n" + task.examples[i].source;
    for (const auto& message : task.examples[i].messages) out += "\n" + message.content;
  }
  return out;
}

std::vector<std::string> texts_of(const Library& library, const std::vector<std::string>& names,
                                  const ExpertSources& given, Progress& progress) {
  auto out = clustering::task_texts(library, names);
  if (given.tasks.empty()) return out;
  const auto set =
      data::read_tasks({given.tasks.begin(), given.tasks.end()}, {data::format_from_name(given.task_format), 0});
  for (const auto& note : set.notes) progress.say(note);
  std::map<std::string, std::string> sources;
  for (const auto& task : set.tasks) sources[task.name] = training_sources(task);
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const auto& task : library.info(names[i]).tasks) {
      QUIVER_CHECK(sources.count(task), usage, "--task", "expert '{}' learned task '{}', which is not given", names[i],
                   task);
      out[i] += sources[task];
    }
  }
  return out;
}

clustering::Descriptions descriptions_of(const Library& library, const ExpertSources& sources, Progress& progress) {
  return {[&](const auto& names) { return prototypes_of(library, names, sources, progress); },
          [&](const auto& names) { return texts_of(library, names, sources, progress); }};
}

/// work(names) over the experts asked for; over all, anew where one of them was taken away meanwhile.
template <typename Work>
auto over_experts(const Library& library, const std::vector<std::string>& experts, Work work) {
  constexpr int kAttempts = 8;
  for (int attempt = 1;; ++attempt) {
    const auto names = experts.empty() ? library.names() : experts;
    try {
      return work(names);
    } catch (const Error& error) {
      const bool there =
          std::all_of(names.begin(), names.end(), [&](const auto& name) { return library.contains(name); });
      if (!experts.empty() || there || attempt == kAttempts) throw;
    }
  }
}

/// The adapters of experts, the last of them the query's.
std::vector<adapter::Adapter> comparable_adapters(const Library& library, const std::vector<std::string>& names) {
  std::vector<adapter::Adapter> out;
  for (auto& expert : library.load_experts(names)) {
    clustering::require_comparable(expert.info.name, expert.adapter);
    out.push_back(std::move(expert.adapter));
  }
  return out;
}

}  // namespace

clustering::Clustering cluster_experts(const Library& library, const std::vector<std::string>& experts,
                                       const clustering::MbcOptions& options, const ExpertSources& sources,
                                       Progress& progress) {
  refuse_twice(experts, "--experts");
  if (const auto line = library::strays_line(library); !line.empty() && experts.empty()) progress.say(line);
  auto out = over_experts(library, experts, [&](const std::vector<std::string>& names) {
    return clustering::cluster_library(library, names, options, descriptions_of(library, sources, progress), &progress);
  });
  if (library.unkept_to_tell())
    progress.say(library.folder().string() + " cannot be written: the clusters are printed, and not kept");
  return out;
}

clustering::Extension extend_clusters(const Library& library, const std::vector<std::string>& experts,
                                      const ExpertSources& sources, Progress& progress) {
  refuse_twice(experts, "--add");
  return clustering::add_to_clustering(library, experts, descriptions_of(library, sources, progress), &progress);
}

std::vector<std::pair<std::string, double>> nearest_experts(const Library& library, const Query& query,
                                                            const std::vector<std::string>& experts,
                                                            clustering::RetrievalOptions options,
                                                            const ExpertSources& sources, Progress& progress) {
  refuse_twice(experts, "--experts");
  auto names = experts.empty() ? library.names() : experts;
  auto all = names;
  if (query.expert.empty()) {
    options.kind = Retriever::text;
  } else {
    library.info(query.expert);  // throws where there is none
    std::erase(names, query.expert);
    all = names;
    all.push_back(query.expert);
  }
  clustering::RetrievalInputs inputs;
  std::vector<adapter::Adapter> adapters;
  if (options.kind == Retriever::prototypes) {
    inputs.prototypes = prototypes_of(library, all, sources, progress);
  } else if (options.kind == Retriever::text) {
    inputs.texts = texts_of(library, all, sources, progress);
    inputs.query_text = query.expert.empty() ? query.text : inputs.texts.back();
    inputs.texts.resize(names.size());
  } else if (options.kind != Retriever::random) {
    adapters = comparable_adapters(library, all);
    for (const auto& adapter : adapters) inputs.experts.push_back(&adapter);
    inputs.experts.pop_back();
    inputs.query = &adapters.back();
  }
  return clustering::retrieve(names, inputs, options);
}

}  // namespace quiver::workspace
