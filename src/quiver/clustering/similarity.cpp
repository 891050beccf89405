// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/similarity.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/flattened_gram.h"
#include "quiver/clustering/products_gram.h"
#include "quiver/data/tfidf.h"

namespace quiver::clustering {
namespace {

const std::vector<std::string> kEmbeddings{"mttl", "products", "prototypes", "text"};  // in the order of Embedding

at::Tensor unit_rows(const at::Tensor& rows) { return rows / rows.norm(2, {1}, true).clamp_min(1e-30); }

}  // namespace

Embedding embedding_of_name(const std::string& name) {
  const auto found = std::find(kEmbeddings.begin(), kEmbeddings.end(), name);
  QUIVER_CHECK(found != kEmbeddings.end(), usage, "--embedding", "'{}'{}", name, suggestion(name, kEmbeddings));
  return static_cast<Embedding>(found - kEmbeddings.begin());
}

std::string embedding_name(Embedding embedding) { return kEmbeddings[static_cast<std::size_t>(embedding)]; }

at::Tensor gram_matrix(const std::vector<const adapter::Adapter*>& experts, const EmbeddingOptions& options,
                       Progress* progress) {
  QUIVER_CHECK(options.sparsity >= 0 && options.sparsity < 1, usage, "--sparsity", "{}, expected at least 0, below 1",
               options.sparsity);
  if (options.kind == Embedding::products) return products_gram(experts, progress);
  QUIVER_CHECK(options.kind == Embedding::mttl, usage, "--embedding", "'{}' has no inner products of factors",
               embedding_name(options.kind));
  return flattened_gram(experts, options.sparsity, progress);
}

at::Tensor cosine_similarity(const at::Tensor& gram, std::int64_t components) {
  QUIVER_CHECK(components >= 1, usage, "--components", "{}, expected at least 1", components);
  const auto n = gram.size(0);
  if (components >= n) {  // the SVD is whole: no need to go through it
    const auto lengths = gram.diagonal().clamp_min(0).sqrt().clamp_min(1e-30);
    return gram / lengths.unsqueeze(0) / lengths.unsqueeze(1);
  }
  // X = U S V^T gives X X^T = U S^2 U^T, so the rows of U S, cut to the largest directions, come from the Gram matrix
  // alone.
  const auto [values, vectors] = at::linalg_eigh(gram);
  const auto scale = values.narrow(0, n - components, components).clamp_min(0).sqrt();
  const auto unit = unit_rows(vectors.narrow(1, n - components, components) * scale.unsqueeze(0));
  return at::mm(unit, unit.t());
}

at::Tensor prototype_similarity(const std::vector<at::Tensor>& prototypes) {
  QUIVER_CHECK(!prototypes.empty(), usage, "prototypes", "expected those of a site or more, got none");
  const auto n = prototypes[0].size(0);
  auto sum = at::zeros({n, n}, at::kDouble), sites = at::zeros({n, n}, at::kDouble);
  for (const auto& of_site : prototypes) {
    const auto directions = of_site.to(at::kDouble);
    const auto unit = unit_rows(directions);
    const auto touched = directions.norm(2, {1}, true).gt(0).to(at::kDouble);
    sum += at::mm(unit, unit.t()).abs();
    sites += at::mm(touched, touched.t());
  }
  return sum / sites.clamp_min(1);
}

at::Tensor text_similarity(const std::vector<std::string>& texts) {
  const auto tfidf = data::fit_tfidf(texts);
  std::vector<data::SparseVector> vectors;
  for (const auto& text : texts) vectors.push_back(data::transform(tfidf, text));
  const auto n = static_cast<std::int64_t>(texts.size());
  auto out = at::zeros({n, n}, at::kDouble);
  auto values = out.accessor<double, 2>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i; j < n; ++j) {
      values[i][j] = values[j][i] =
          data::cosine(vectors[static_cast<std::size_t>(i)], vectors[static_cast<std::size_t>(j)]);
    }
  }
  return out;
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

std::vector<std::vector<double>> rows_of(const at::Tensor& matrix) {
  const auto values = matrix.contiguous();
  const auto columns = values.size(1);
  std::vector<std::vector<double>> out;
  for (std::int64_t i = 0; i < values.size(0); ++i) {
    const double* row = values.const_data_ptr<double>() + i * columns;
    out.emplace_back(row, row + columns);
  }
  return out;
}

}  // namespace quiver::clustering
