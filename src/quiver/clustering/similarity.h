// SPDX-License-Identifier: Apache-2.0
// How alike experts are, by what: their products, their weights as MTTL embeds them, their Arrow directions, or texts.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/progress.h"

namespace quiver::clustering {

enum class Embedding {
  mttl,        ///< all factors flattened, entries below a quantile of |v| set to 0 (arXiv 2405.11157, MBC); depends on
               ///< the gauge
  products,    ///< the products s B A of all sites: unchanged when A and B are rescaled or rotated against each other
  prototypes,  ///< the input directions that Arrow routes by
  text,        ///< TF-IDF of what is written about the expert's tasks
};

Embedding embedding_of_name(const std::string& name);
std::string embedding_name(Embedding embedding);

struct EmbeddingOptions {
  Embedding kind = Embedding::products;
  double sparsity = 0.5;  ///< mttl: share of entries dropped per expert, [0, 1). The paper's command line has 0.5
  std::int64_t components = 64;  ///< mttl, products: directions kept of the (uncentred) SVD; at most one per expert
};

/// Inner products of the embeddings, float64 [N, N]: products_gram or flattened_gram. Throws Error{usage} where the
/// embedding is not made of factors. `progress` may be null.
at::Tensor gram_matrix(const std::vector<const adapter::Adapter*>& experts, const EmbeddingOptions& options,
                       Progress* progress = nullptr);

/// Cosine similarity of the embeddings after the truncated SVD of what the Gram matrix belongs to: float64 [N, N], ones
/// on the diagonal; zeros in the row of an embedding that is zero. Equals scikit-learn's TruncatedSVD with the rows
/// scaled to length 1.
at::Tensor cosine_similarity(const at::Tensor& gram, std::int64_t components);

/// Mean of |cos| of the directions over the sites that both experts touch, float64 [N, N]; 0 where there are none.
/// `prototypes`: per site [N, in], a zero row where the expert does not touch the site.
at::Tensor prototype_similarity(const std::vector<at::Tensor>& prototypes);

/// Cosine of the texts' TF-IDF vectors, float64 [N, N].
at::Tensor text_similarity(const std::vector<std::string>& texts);

/// Positions for a picture: the first two principal coordinates of the similarity matrix, float64 [N, 2].
at::Tensor plane_positions(const at::Tensor& similarity);

/// A float64 matrix as rows.
std::vector<std::vector<double>> rows_of(const at::Tensor& matrix);

}  // namespace quiver::clustering
