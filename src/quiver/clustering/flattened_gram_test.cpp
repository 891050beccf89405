// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/flattened_gram.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/quantile.h>
#include <gtest/gtest.h>

#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

adapter::Adapter expert_of(const at::Tensor& a, const at::Tensor& b) { return {{}, {{"q", {a, b, 1.0}}}}; }

TEST(MagnitudeQuantile, EqualsTorchQuantile) {
  Random random(1);
  for (const std::int64_t in : {1, 2, 3, 7, 1000}) {
    const auto a = normal(1, in, random), b = normal(1, 1, random);
    for (const double q : {0.0, 0.1, 0.3, 0.5, 0.8, 0.999}) {
      const auto want = at::quantile(at::cat({a.reshape({-1}), b.reshape({-1})}).abs(), q).item<float>();
      EXPECT_FLOAT_EQ(magnitude_quantile(expert_of(a, b), q), want) << in << " " << q;  // torch may round once or twice
    }
  }
}

TEST(FlattenedGram, EqualsNumPy) {
  const auto golden = golden_json("experts.json");
  const auto experts = golden_experts(golden);
  const double sparsity = golden["sparsity"];
  for (std::size_t e = 0; e < experts.size(); ++e) {
    EXPECT_FLOAT_EQ(magnitude_quantile(experts[e], sparsity), golden["thresholds"][e].get<float>());
  }
  const auto want = tensor_of(golden["mttl_gram"].get<Rows>());
  const auto lengths = want.diagonal().sqrt();
  const auto error =
      (flattened_gram(pointers(experts), sparsity) - want).abs() / at::mm(lengths.unsqueeze(1), lengths.unsqueeze(0));
  EXPECT_LE(error.max().item<double>(), 49 * 0x1p-24);  // 49 entries, each product and sum rounded to float32
}

TEST(FlattenedGram, KeepsAllAtSparsityZeroAndCutsLongFactors) {
  Random random(2);
  std::vector<adapter::Adapter> experts;
  for (int e = 0; e < 3; ++e) experts.push_back(expert_of(normal(3, 3000, random), normal(1, 3, random)));
  std::vector<at::Tensor> rows;
  for (const auto& e : experts) {
    const auto& f = e.sites.at("q");
    rows.push_back(at::cat({f.a.reshape({-1}), f.b.reshape({-1})}).to(at::kDouble).unsqueeze(0));
  }
  const auto all = at::cat(rows), want = at::mm(all, all.t());
  const auto error = (flattened_gram(pointers(experts), 0.0) - want).abs().max().item<double>();
  EXPECT_LE(error, 4096 * 0x1p-24 * want.max().item<double>());  // float32 over 4096 columns at a time
}

TEST(FlattenedGram, EqualMagnitudesAreAllDropped) {
  const auto flat = expert_of(at::zeros({1, 4}) + 2.0, at::zeros({3, 1}) - 2.0);
  EXPECT_EQ(flattened_gram({&flat}, 0.5).item<double>(), 0.0);
  EXPECT_EQ(flattened_gram({&flat}, 0.0).item<double>(), 28.0);
}

TEST(FlattenedGram, OtherShapesAreAnErrorThatNamesTheOtherEmbedding) {
  const std::vector<adapter::Adapter> experts{random_expert(1, 2), random_expert(2, 3)};
  tensor_io::expect_error(ErrorCode::mismatch, "--embedding products", [&] { flattened_gram(pointers(experts), 0.5); });
}

}  // namespace
}  // namespace quiver::clustering
