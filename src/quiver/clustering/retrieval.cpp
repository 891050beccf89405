// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/retrieval.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/similarity.h"
#include "quiver/data/tfidf.h"

namespace quiver::clustering {
namespace {

/// The similarities of the last row to the others.
std::vector<double> last_row(const at::Tensor& similarity) {
  auto row = rows_of(similarity).back();
  row.pop_back();
  return row;
}

/// Pair by pair: of the inner products among the candidates, only their lengths are needed.
std::vector<double> pairwise(const RetrievalInputs& inputs, const EmbeddingOptions& options) {
  std::vector<double> out;
  for (const auto* expert : inputs.experts) {
    out.push_back(last_row(cosine_similarity(gram_matrix({expert, inputs.query}, options), 2))[0]);
  }
  return out;
}

std::vector<double> svd(const RetrievalInputs& inputs, const RetrievalOptions& options) {
  auto all = inputs.experts;
  all.push_back(inputs.query);
  const EmbeddingOptions embedding{Embedding::mttl, options.sparsity, options.components};
  return last_row(cosine_similarity(gram_matrix(all, embedding), options.components));
}

std::vector<double> by_text(const RetrievalInputs& inputs) {
  const auto tfidf = data::fit_tfidf(inputs.texts);
  const auto query = data::transform(tfidf, inputs.query_text);
  std::vector<double> out;
  for (const auto& text : inputs.texts) out.push_back(data::cosine(query, data::transform(tfidf, text)));
  return out;
}

void check_inputs(std::size_t names, const RetrievalInputs& inputs, Retriever kind) {
  const bool of_factors = kind == Retriever::cosine || kind == Retriever::svd || kind == Retriever::products;
  QUIVER_CHECK(!of_factors || (inputs.query && inputs.experts.size() == names), usage, "retrieve",
               "{} experts for {} names and {} query; this retriever compares factors", inputs.experts.size(), names,
               inputs.query ? "a" : "no");
  QUIVER_CHECK(kind != Retriever::text || inputs.texts.size() == names, usage, "retrieve", "{} texts for {} names",
               inputs.texts.size(), names);
  if (kind != Retriever::prototypes) return;
  QUIVER_CHECK(!inputs.prototypes.empty(), usage, "retrieve", "this retriever compares prototypes, and there are none");
  for (const auto& of_site : inputs.prototypes) {
    QUIVER_CHECK(of_site.size(0) == static_cast<std::int64_t>(names) + 1, usage, "retrieve",
                 "prototypes of {} experts, expected the {} candidates and the query", of_site.size(0), names);
  }
}

std::vector<double> similarities(std::size_t names, const RetrievalInputs& inputs, const RetrievalOptions& options) {
  switch (options.kind) {
    case Retriever::random:
      return std::vector<double>(names, 0.0);
    case Retriever::cosine:
      return pairwise(inputs, {Embedding::mttl, 0.0, 2});
    case Retriever::svd:
      return svd(inputs, options);
    case Retriever::products:
      return pairwise(inputs, {Embedding::products, 0.0, 2});
    case Retriever::prototypes:
      return last_row(prototype_similarity(inputs.prototypes));
    case Retriever::text:
      return by_text(inputs);
  }
  fail(ErrorCode::usage, "retrieve", "no retriever {}", static_cast<int>(options.kind));
}

}  // namespace

void describe(RetrievalOptions& o, OptionSet& set) {
  set.group("nearest experts")
      .choice("retriever", o.kind,
              {{"products", Retriever::products},
               {"cosine", Retriever::cosine},
               {"svd", Retriever::svd},
               {"prototypes", Retriever::prototypes},
               {"text", Retriever::text},
               {"random", Retriever::random}},
              "by B A, weights, MTTL's embedding, Arrow's directions, the texts of tasks, or the control")
      .integer("top", o.top_k, at_least(0), "how many; 0: all");
}

std::vector<std::pair<std::string, double>> retrieve(const std::vector<std::string>& names,
                                                     const RetrievalInputs& inputs, const RetrievalOptions& options) {
  check_inputs(names.size(), inputs, options.kind);
  const auto similarity = similarities(names.size(), inputs, options);
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (options.kind == Retriever::random) {
    Random(options.seed).shuffle(order);
  } else {
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return similarity[a] > similarity[b]; });
  }
  const auto count = options.top_k == 0 ? names.size() : std::min(options.top_k, names.size());
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(names[order[i]], similarity[order[i]]);
  return out;
}

}  // namespace quiver::clustering
