// SPDX-License-Identifier: Apache-2.0
// Retrieval: the experts most similar to a query, which is an expert or a text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/options.h"

namespace quiver::clustering {

enum class Retriever {
  random,      ///< the control
  cosine,      ///< of all factors flattened (MTTL's lora_sim)
  svd,         ///< of MTTL's SVD embedding, computed anew with the query among the experts (svdemb)
  products,    ///< of the products s B A
  prototypes,  ///< mean |cos| of the Arrow directions
  text,        ///< of TF-IDF vectors: of the query's text and the experts' texts
};

struct RetrievalOptions {
  Retriever kind = Retriever::products;
  std::size_t top_k = 5;  ///< 0, or more than there are: all
  std::uint64_t seed = 42;
  double sparsity = 0.5;         ///< svd: share of entries dropped per expert
  std::int64_t components = 64;  ///< svd: directions kept
};

/// retriever and top; seed and sparsity are described with the clusters.
void describe(RetrievalOptions& options, OptionSet& set);

/// What the candidates and the query are compared by; only what the retriever asks for is read.
struct RetrievalInputs {
  std::vector<const adapter::Adapter*> experts;  ///< cosine, svd, products: of each candidate
  const adapter::Adapter* query = nullptr;
  std::vector<at::Tensor> prototypes;  ///< per site [N + 1, in]: the candidates', then the query's
  std::vector<std::string> texts;      ///< of each candidate
  std::string query_text;
};

/// Names of the top_k candidates with their similarity to the query (random: 0), best first; equal ones in the order of
/// `names`. Deterministic. Throws Error{usage} where the inputs are not one per name, and as the embeddings do.
std::vector<std::pair<std::string, double>> retrieve(const std::vector<std::string>& names,
                                                     const RetrievalInputs& inputs, const RetrievalOptions& options);

}  // namespace quiver::clustering
