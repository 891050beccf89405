// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/library_similarity.h"

#include <algorithm>

#include "quiver/adapter/traits.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::clustering {
namespace {

at::Tensor factor_similarity(const library::Library& library, const std::vector<std::string>& names,
                             const EmbeddingOptions& options, Progress* progress) {
  std::vector<adapter::Adapter> adapters;
  for (const auto& name : names) {
    adapters.push_back(library.load(name));
    require_comparable(name, adapters.back());
  }
  std::vector<const adapter::Adapter*> pointers;
  for (const auto& adapter : adapters) pointers.push_back(&adapter);
  return cosine_similarity(gram_matrix(pointers, options, progress), options.components);
}

}  // namespace

void require_comparable(const std::string& name, const adapter::Adapter& adapter) {
  adapter::require(
      name, adapter,
      {"cluster",
       {adapter::Trait::low_rank},
       false,
       "experts are compared by their factors; leave it out with --experts, or compare by --embedding text"});
}

std::vector<std::string> task_texts(const library::Library& library, const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const auto& name : names) {
    const auto tasks = library.info(name).tasks;
    auto& text = out.emplace_back(tasks.empty() ? name : join(tasks, " "));
    for (auto& c : text) {
      if (c == '_' || c == '-' || c == '.') c = ' ';
    }
  }
  return out;
}

at::Tensor library_similarity(const library::Library& library, const std::vector<std::string>& names,
                              const EmbeddingOptions& options, const Descriptions& descriptions, Progress* progress) {
  QUIVER_CHECK(!names.empty(), usage, library.folder().string(), "no experts to compare");
  if (options.kind == Embedding::text) {
    return text_similarity(descriptions.texts ? descriptions.texts(names) : task_texts(library, names));
  }
  if (options.kind == Embedding::prototypes) {
    QUIVER_CHECK(descriptions.prototypes, usage, "--embedding prototypes", "needs the experts' Arrow directions");
    return prototype_similarity(descriptions.prototypes(names));
  }
  return factor_similarity(library, names, options, progress);
}

}  // namespace quiver::clustering
