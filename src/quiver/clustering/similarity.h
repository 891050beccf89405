// SPDX-License-Identifier: Apache-2.0
// How alike experts are: the Gram matrix of their embeddings, without ever stacking the embeddings.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"

namespace quiver::clustering {

enum class Embedding {
  mttl,  ///< all factors flattened, entries below a quantile of |v| set to 0 (arXiv 2405.11157, MBC); depends on the
         ///< gauge
  products,  ///< the products s B A of all sites: unchanged when A and B are rescaled or rotated against each other
};

Embedding embedding_of_name(const std::string& name);

struct EmbeddingOptions {
  Embedding kind = Embedding::products;
  double sparsity = 0.5;  ///< mttl: share of entries dropped per expert, [0, 1). The paper's command line has 0.5
  std::int64_t components = 64;  ///< directions kept of the (uncentred) SVD; at most one per expert
};

/// Inner products of the embeddings, float64 [N, N]. For `products`: sum over sites of s_i s_j tr((A_i A_j^T)(B_j^T
/// B_i)), from R x R matrices only. A site that one expert lacks adds nothing.
at::Tensor gram_matrix(const std::vector<const adapter::Adapter*>& experts, const EmbeddingOptions& options);

/// Cosine similarity of the embeddings after the truncated SVD of the Gram matrix: float64 [N, N], ones on the
/// diagonal.
at::Tensor cosine_similarity(const at::Tensor& gram, std::int64_t components);

/// Positions for a picture: the first two principal coordinates of the similarity matrix, float64 [N, 2].
at::Tensor plane_positions(const at::Tensor& similarity);

}  // namespace quiver::clustering
