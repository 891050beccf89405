// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/products_gram.h"

#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

/// By definition: B A of every expert and site, formed in float64.
at::Tensor dense_gram(const std::vector<adapter::Adapter>& experts) {
  const auto n = static_cast<std::int64_t>(experts.size());
  auto out = at::zeros({n, n}, at::kDouble);
  const auto product = [](const ops::LoraFactors& f) {
    return f.scale * at::mm(f.b.to(at::kDouble), f.a.to(at::kDouble));
  };
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const auto& other = experts[static_cast<std::size_t>(j)].sites;
      for (const auto& [site, f] : experts[static_cast<std::size_t>(i)].sites) {
        if (other.count(site)) out[i][j] += (product(f) * product(other.at(site))).sum();
      }
    }
  }
  return out;
}

/// in + out products are summed in float32; with the factors' magnitudes in place of the factors that bounds the error.
void expect_gram(const std::vector<adapter::Adapter>& experts, const at::Tensor& want) {
  auto magnitudes = experts;
  for (auto& expert : magnitudes) {
    for (auto& [site, f] : expert.sites) f = {f.a.abs(), f.b.abs(), f.scale};
  }
  const auto terms = static_cast<double>(6 + 5 + 2);
  const auto bound = terms * 0x1p-24 * dense_gram(magnitudes);
  const auto error = (products_gram(pointers(experts)) - want).abs();
  EXPECT_TRUE(error.le(bound).all().item<bool>()) << (error / bound).max();
}

TEST(ProductsGram, EqualsNumPyOnDenseProducts) {
  const auto golden = golden_json("experts.json");
  expect_gram(golden_experts(golden), tensor_of(golden["products_gram"].get<Rows>()));
}

TEST(ProductsGram, OtherRanksMissingSitesAndSeveralStacks) {
  std::vector<adapter::Adapter> experts;
  for (std::uint64_t e = 0; e < 12; ++e) experts.push_back(random_expert(e, e == 3 ? 700 : 1 + 9 * (e % 4)));
  experts[5].sites.erase("layers.0.q_proj");
  experts[6].sites.erase("layers.0.down_proj");
  experts[7].sites.clear();
  expect_gram(experts, dense_gram(experts));
  const auto gram = products_gram(pointers(experts));
  EXPECT_TRUE(gram.equal(gram.t()));
  EXPECT_EQ(gram[5][6].item<double>(), 0.0);
  EXPECT_EQ(gram[7].abs().sum().item<double>(), 0.0);
}

TEST(ProductsGram, RescalingAAgainstBChangesNothing) {
  std::vector<adapter::Adapter> experts{random_expert(1), random_expert(2)};
  const auto before = products_gram(pointers(experts));
  for (auto& [site, f] : experts[0].sites) f = {f.a * 8.0, f.b / 8.0, f.scale};  // a power of two: exact
  EXPECT_TRUE(products_gram(pointers(experts)).equal(before));
}

class Told : public SilentProgress {
 public:
  void update(const std::string&, std::uint64_t done, std::uint64_t total, const std::string&) override {
    told_.emplace_back(done, total);
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> told_;
};

TEST(ProductsGram, ProgressIsToldOfEverySite) {
  const std::vector<adapter::Adapter> experts{random_expert(1), random_expert(2)};
  Told told;
  products_gram(pointers(experts), &told);
  EXPECT_EQ(told.told_, (decltype(told.told_){{0, 2}, {1, 2}}));
}

TEST(ProductsGram, OtherBaseModelsAndNoExperts) {
  std::vector<adapter::Adapter> experts{random_expert(1), random_expert(2)};
  auto& f = experts[1].sites["layers.0.q_proj"];
  f.a = f.a.narrow(1, 0, 4);
  tensor_io::expect_error(ErrorCode::mismatch, "in 4", [&] { products_gram(pointers(experts)); });
  EXPECT_EQ(products_gram({}).numel(), 0);
}

}  // namespace
}  // namespace quiver::clustering
