// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/similarity.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(Similarity, MttlEqualsScikitLearnsTruncatedSvd) {
  const auto golden = golden_json("experts.json");
  const auto experts = golden_experts(golden);
  const EmbeddingOptions options{Embedding::mttl, golden["sparsity"], golden["components"]};
  const auto got = cosine_similarity(gram_matrix(pointers(experts), options), options.components);
  // The Gram matrix comes from float32 products (3e-6 of the lengths), which the SVD passes on over its spectral gap.
  EXPECT_LE(largest_difference(got, tensor_of(golden["cosine_arpack"].get<Rows>())), 1e-5);
  EXPECT_LE(largest_difference(got, tensor_of(golden["cosine_randomized"].get<Rows>())), 1e-5);
  const auto exact = cosine_similarity(tensor_of(golden["mttl_gram"].get<Rows>()), options.components);
  EXPECT_LE(largest_difference(exact, tensor_of(golden["cosine_arpack"].get<Rows>())), 1e-12);
  EXPECT_GT(largest_difference(cosine_similarity(tensor_of(golden["mttl_gram"].get<Rows>()), 12), exact), 1e-2)
      << "the truncation must matter here";
}

TEST(Similarity, TheWholeSvdIsThePlainCosine) {
  const auto rows = tensor_of({{3, 4, 0}, {0, 2, 0}, {0, 0, 0}, {-6, -8, 0}});
  const auto gram = at::mm(rows, rows.t());
  const auto want = tensor_of({{1, 0.8, 0, -1}, {0.8, 1, 0, -0.8}, {0, 0, 0, 0}, {-1, -0.8, 0, 1}});
  EXPECT_LE(largest_difference(cosine_similarity(gram, 64), want), 1e-15);
  // Rank 2, so two components lose nothing; an eigenvalue of 0 comes out as up to 1e-15 of the largest.
  EXPECT_LE(largest_difference(cosine_similarity(gram, 2), want), 1e-14);
  EXPECT_THROW(cosine_similarity(gram, 0), Error);
}

TEST(Similarity, OfPrototypesByHand) {
  const double h = std::sqrt(0.5);
  const auto first = tensor_of({{1, 0}, {-1, 0}, {h, h}}), second = tensor_of({{0, 1, 0}, {0, 0, 2}, {0, 0, 0}});
  const auto got = prototype_similarity({first, second});
  // Experts 0 and 1: |cos| 1 at the first site, 0 at the second; expert 2 touches the first site alone.
  EXPECT_LE(largest_difference(got, tensor_of({{1, 0.5, h}, {0.5, 1, h}, {h, h, 1}})), 1e-15);
  EXPECT_THROW(prototype_similarity({}), Error);
}

TEST(Similarity, OfTexts) {
  const auto got = text_similarity({"red blue", "blue red", "green"});
  EXPECT_LE(largest_difference(got, tensor_of({{1, 1, 0}, {1, 1, 0}, {0, 0, 1}})), 1e-15);
}

TEST(Similarity, PositionsAreThePrincipalCoordinates) {
  // Inner products of points on a line, -1, 0 and 1: one coordinate tells all.
  const auto positions = plane_positions(tensor_of({{1, 0, -1}, {0, 0, 0}, {-1, 0, 1}}));
  EXPECT_LE(largest_difference(positions.select(1, 0).abs(), tensor_of({{1, 0, 1}})[0]), 1e-12);
  EXPECT_LE(positions.select(1, 1).abs().max().item<double>(), 1e-7);
}

TEST(Similarity, NamesAndErrors) {
  for (const auto kind : {Embedding::mttl, Embedding::products, Embedding::prototypes, Embedding::text}) {
    EXPECT_EQ(embedding_of_name(embedding_name(kind)), kind);
  }
  tensor_io::expect_error(ErrorCode::usage, "did you mean 'products'", [] { embedding_of_name("product"); });
  EXPECT_THROW(gram_matrix({}, {Embedding::mttl, 1.0, 64}), Error);
  EXPECT_THROW(gram_matrix({}, {Embedding::text, 0.5, 64}), Error);
}

}  // namespace
}  // namespace quiver::clustering
