// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/similarity.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::clustering {
namespace {

double product_of_site(const ops::LoraFactors& i, const ops::LoraFactors& j) {
  const auto aa = at::mm(i.a.to(at::kDouble), j.a.to(at::kDouble).t());  // [R_i, R_j]
  const auto bb = at::mm(i.b.to(at::kDouble).t(), j.b.to(at::kDouble));  // [R_i, R_j]
  return i.scale * j.scale * (aa * bb).sum().item<double>();
}

at::Tensor products_gram(const std::vector<const adapter::Adapter*>& experts) {
  const auto n = static_cast<std::int64_t>(experts.size());
  auto gram = at::zeros({n, n}, at::kDouble);
  auto out = gram.accessor<double, 2>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i; j < n; ++j) {
      double sum = 0.0;
      for (const auto& [site, factors] : experts[static_cast<std::size_t>(i)]->sites) {
        const auto other = experts[static_cast<std::size_t>(j)]->sites.find(site);
        if (other != experts[static_cast<std::size_t>(j)]->sites.end()) sum += product_of_site(factors, other->second);
      }
      out[i][j] = out[j][i] = sum;
    }
  }
  return gram;
}

/// All factors in the order of the site names, entries of |v| <= quantile set to 0.
at::Tensor sparse_vector(const adapter::Adapter& adapter, double sparsity) {
  std::vector<at::Tensor> parts;
  for (const auto& [site, f] : adapter.sites) {
    parts.push_back(f.a.to(at::kFloat).reshape({-1}));
    parts.push_back(f.b.to(at::kFloat).reshape({-1}));
  }
  auto vector = at::cat(parts, 0);
  if (sparsity <= 0.0) return vector;
  const auto magnitude = vector.abs();
  std::vector<float> sorted(magnitude.const_data_ptr<float>(), magnitude.const_data_ptr<float>() + magnitude.numel());
  const auto rank = static_cast<std::ptrdiff_t>(sparsity * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
  return vector.masked_fill(magnitude.le(sorted[static_cast<std::size_t>(rank)]), 0.0);
}

at::Tensor flattened_gram(const std::vector<const adapter::Adapter*>& experts, double sparsity) {
  std::vector<at::Tensor> rows;
  for (const auto* expert : experts) rows.push_back(sparse_vector(*expert, sparsity));
  for (const auto& row : rows) {
    QUIVER_CHECK(row.size(0) == rows[0].size(0), mismatch, "cluster --embedding mttl",
                 "experts have {} and {} weights; the recipe needs equal shapes, --embedding products does not",
                 rows[0].size(0), row.size(0));
  }
  const auto stacked = at::stack(rows, 0);
  return at::mm(stacked, stacked.t()).to(at::kDouble);
}

}  // namespace

Embedding embedding_of_name(const std::string& name) {
  if (name == "mttl") return Embedding::mttl;
  if (name == "products") return Embedding::products;
  fail(ErrorCode::usage, "--embedding", "'{}'{}", name, suggestion(name, {"mttl", "products"}));
}

at::Tensor gram_matrix(const std::vector<const adapter::Adapter*>& experts, const EmbeddingOptions& options) {
  QUIVER_CHECK(options.sparsity >= 0 && options.sparsity < 1, usage, "--sparsity", "{}, expected at least 0, below 1",
               options.sparsity);
  return options.kind == Embedding::products ? products_gram(experts) : flattened_gram(experts, options.sparsity);
}

at::Tensor cosine_similarity(const at::Tensor& gram, std::int64_t components) {
  // X = U S V^T gives X X^T = U S^2 U^T, so the rows of U S, cut to the largest directions, come from the Gram matrix
  // alone.
  const auto [values, vectors] = at::linalg_eigh(gram);
  const auto kept = std::min(components, gram.size(0));
  const auto scale = values.narrow(0, gram.size(0) - kept, kept).clamp_min(0).sqrt();
  const auto rows = vectors.narrow(1, gram.size(0) - kept, kept) * scale.unsqueeze(0);
  const auto unit = rows / rows.norm(2, {1}, true).clamp_min(1e-30);
  return at::mm(unit, unit.t());
}

at::Tensor plane_positions(const at::Tensor& similarity) {
  const auto centred = similarity - similarity.mean(0, true) - similarity.mean(1, true) + similarity.mean();
  const auto [values, vectors] = at::linalg_eigh(centred);
  const auto n = similarity.size(0);
  auto out = at::zeros({n, 2}, at::kDouble);
  for (std::int64_t axis = 0; axis < std::min<std::int64_t>(2, n); ++axis) {
    const auto at = n - 1 - axis;
    out.select(1, axis).copy_(vectors.select(1, at) * values[at].clamp_min(0).sqrt());
  }
  return out;
}

}  // namespace quiver::clustering
