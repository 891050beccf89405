// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/apply_experts.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "quiver/base/error.h"

namespace quiver::ops {
namespace {

constexpr std::int64_t kIn = 7, kOut = 5;

/// Factors in float64, so that finite differences are accurate to far below the bound asked of the gradients.
BankSite random_bank(const std::vector<std::int64_t>& ranks, at::ScalarType dtype) {
  BankSite bank;
  const auto options = at::TensorOptions().dtype(dtype);
  for (const auto rank : ranks) {
    bank.experts.push_back({at::randn({rank, kIn}, options).set_requires_grad(true),
                            at::randn({kOut, rank}, options).set_requires_grad(true), 0.5 + static_cast<double>(rank)});
  }
  return bank;
}

struct Mode {
  const char* name;
  Combine combine;
  bool contiguous_rows, trained_weights;
  double dropout;
};

std::shared_ptr<Mix> mix_for(const Mode& mode, std::int64_t tokens) {
  if (mode.contiguous_rows) {
    return std::make_shared<Mix>(mix_of_rows(tokens, {{0, 2, {{1, 1.0f}}}, {2, tokens - 3, {{0, 0.25f}, {2, -0.5f}}}}));
  }
  auto weights = at::rand({tokens, 3});
  weights.index_put_({at::tensor({0, 1, 3}, at::kLong), at::tensor({0, 2, 1}, at::kLong)}, at::zeros({}));
  return std::make_shared<Mix>(mix_of_dense(weights.set_requires_grad(mode.trained_weights)));
}

class EveryMode : public testing::TestWithParam<Mode> {
 protected:
  /// One site over columns [1, 6) of a wider y.
  std::vector<SiteUse> sites(const BankSite& bank, const std::shared_ptr<const Mix>& mix) const {
    SiteUse use{&bank, mix, 1, kOut, GetParam().combine, {}};
    if (GetParam().dropout > 0) {
      std::vector<std::uint64_t> seeds;
      for (std::int64_t t = 0; t < mix->tokens; ++t) seeds.push_back(100 + static_cast<std::uint64_t>(t));
      use.dropout = {GetParam().dropout, std::make_shared<std::vector<std::uint64_t>>(seeds), 3};
    }
    return {use};
  }
};

at::Tensor loss_of(const at::Tensor& y) { return (y * y).sum() + y.sum(); }

TEST_P(EveryMode, EqualsTheReferenceInValueAndGradient) {
  at::manual_seed(1);
  const auto bank = random_bank({2, 1, 3}, at::kFloat);
  const auto mix = mix_for(GetParam(), 6);
  const auto x = at::randn({6, kIn}).set_requires_grad(true);
  const auto y = at::randn({6, kOut + 2});
  const auto fast = apply_experts(x, y.clone(), sites(bank, mix));
  const auto plain = apply_experts_reference(x, y, sites(bank, mix));
  // float32 sums of at most 3 * 3 * 7 products of values near 1: rounding stays below 1e-5 of the largest entry.
  EXPECT_LT((fast - plain).abs().max().item<float>(), 1e-5 * plain.abs().max().item<float>());

  std::vector<at::Tensor> inputs{x};
  for (const auto& f : bank.experts) inputs.insert(inputs.end(), {f.a, f.b});
  const auto gradients = [&](const at::Tensor& out) {
    for (auto& t : inputs) t.mutable_grad().reset();
    loss_of(out).backward({}, true);
    std::vector<at::Tensor> result;
    for (auto& t : inputs) result.push_back(t.grad().clone());
    return result;
  };
  const auto a = gradients(fast), b = gradients(plain);
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_LT((a[i] - b[i]).abs().max().item<float>(), 2e-5 * (1 + b[i].abs().max().item<float>())) << "input " << i;
  }
}

/// Without gradients other code runs: kernels, which also take factors of another dtype than x.
TEST_P(EveryMode, EqualsTheReferenceWithoutGradients) {
  at::manual_seed(4);
  const c10::AutoGradMode no_gradient(false);
  for (const auto factors : {at::kFloat, at::kBFloat16}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      auto bank = random_bank({2, 1, 3}, at::kFloat);
      for (auto& f : bank.experts) f.a = f.a.detach().to(factors), f.b = f.b.detach().to(factors);
      const auto mix = mix_for(GetParam(), 70);  // more tokens than one portion of the sweep
      const auto x = at::randn({70, kIn}).to(dtype), y = at::randn({70, kOut + 2}).to(dtype);
      const auto fast = apply_experts(x, y.clone(), sites(bank, mix)).to(at::kFloat);
      auto wide = bank;
      for (auto& f : wide.experts) f.a = f.a.to(at::kFloat), f.b = f.b.to(at::kFloat);
      const auto plain = apply_experts_reference(x.to(at::kFloat), y.to(at::kFloat), sites(wide, mix));
      // bfloat16 results are rounded after each of at most three experts, and `factors` and dropout round inside too.
      const double roundings = dtype == at::kBFloat16 || factors == at::kBFloat16 ? 16.0 / 256 : 1e-5;
      EXPECT_LT((fast - plain).abs().max().item<float>(), roundings * plain.abs().max().item<float>());
    }
  }
}

TEST_P(EveryMode, PassesANumericalGradientCheck) {
  at::manual_seed(2);
  const auto bank = random_bank({2, 1, 3}, at::kDouble);
  const auto mix = mix_for(GetParam(), 5);
  const auto x = at::randn({5, kIn}, at::kDouble).set_requires_grad(true);
  const auto y = at::randn({5, kOut + 2}, at::kDouble);
  const auto value = [&] { return loss_of(apply_experts(x, y.clone(), sites(bank, mix))); };
  value().backward();

  std::vector<at::Tensor> inputs{x};
  for (const auto& f : bank.experts) inputs.insert(inputs.end(), {f.a, f.b});
  for (const auto& input : inputs) {
    auto entries = input.detach().view({-1});
    const auto gradient = input.grad().view({-1});
    for (std::int64_t i = 0; i < entries.size(0); i += 2) {
      // Central differences: the error is h^2 f'''/6 plus rounding 1e-16 |f| / h, both below 1e-6 |f| at h = 1e-5.
      const double h = 1e-5, original = entries[i].item<double>();
      entries[i].fill_(original + h);
      const double above = value().item<double>();
      entries[i].fill_(original - h);
      const double below = value().item<double>();
      entries[i].fill_(original);
      const double expected = (above - below) / (2 * h);
      EXPECT_NEAR(gradient[i].item<double>(), expected, 1e-4 * (1 + std::abs(expected)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMode,
                         testing::Values(Mode{"rows", Combine::outputs, true, false, 0.0},
                                         Mode{"routed", Combine::outputs, false, false, 0.0},
                                         Mode{"routed_trained_weights", Combine::outputs, false, true, 0.0},
                                         Mode{"rows_factors", Combine::factors, true, false, 0.0},
                                         Mode{"routed_factors", Combine::factors, false, false, 0.0},
                                         Mode{"rows_dropout", Combine::outputs, true, false, 0.3},
                                         Mode{"factors_dropout", Combine::factors, false, false, 0.3}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ApplyExperts, TrainedWeightsGetTheirGradient) {
  at::manual_seed(3);
  const auto bank = random_bank({2, 3}, at::kDouble);
  auto dense = at::rand({4, 2}).set_requires_grad(true);
  const auto x = at::randn({4, kIn}, at::kDouble), y = at::randn({4, kOut}, at::kDouble);
  const auto run = [&](auto apply) {
    const auto mix = std::make_shared<Mix>(mix_of_dense(dense));
    dense.mutable_grad().reset();
    loss_of(apply(x, y.clone(), std::vector<SiteUse>{{&bank, mix, 0, kOut, Combine::outputs, {}}})).backward();
    return dense.grad().clone();
  };
  const auto fast = run(apply_experts), plain = run(apply_experts_reference);
  EXPECT_GT(plain.abs().min().item<float>(), 0.0f);
  EXPECT_LT((fast - plain).abs().max().item<float>(), 1e-4 * plain.abs().max().item<float>());
}

TEST(ApplyExperts, TheTwoOrdersDifferByTheCrossTerms) {
  at::manual_seed(4);
  const auto bank = random_bank({2, 2}, at::kFloat);
  const auto x = at::randn({3, kIn}), y = at::zeros({3, kOut});
  const auto mix = std::make_shared<Mix>(constant_mix(3, {{0, 0.5f}, {1, 0.5f}}));
  const auto run = [&](Combine combine) {
    return apply_experts(x, y.clone(), {{&bank, mix, 0, kOut, combine, {}}}).detach();
  };
  const auto& e = bank.experts;
  const auto product = [&](std::size_t i, std::size_t j) {
    return x.mm(e[j].a.t()).mm(e[i].b.t()).mul(e[i].scale).detach();
  };
  const auto outputs = 0.5 * product(0, 0) + 0.5 * product(1, 1);
  const auto factors = 0.25 * (product(0, 0) + product(0, 1) + product(1, 0) + product(1, 1));
  EXPECT_LT((run(Combine::outputs) - outputs).abs().max().item<float>(), 1e-4);
  EXPECT_LT((run(Combine::factors) - factors).abs().max().item<float>(), 1e-4);
}

TEST(ApplyExperts, AnExpertThatSkipsTheSiteAddsNothing) {
  BankSite bank;
  bank.experts.resize(1);
  const auto x = at::randn({3, kIn}), y = at::randn({3, kOut});
  const auto mix = std::make_shared<Mix>(constant_mix(3, {{0, 1.0f}}));
  EXPECT_TRUE(apply_experts(x, y.clone(), {{&bank, mix, 0, kOut, Combine::outputs, {}}}).equal(y));
}

TEST(ApplyExperts, RefusesWhatDoesNotFit) {
  const auto bank = random_bank({2}, at::kFloat);
  const auto x = at::randn({3, kIn}), y = at::randn({3, kOut});
  const auto with = [&](std::int64_t tokens, std::int64_t expert, std::int64_t out) {
    const auto mix = std::make_shared<Mix>(constant_mix(tokens, {{expert, 1.0f}}));
    apply_experts(x, y.clone(), {{&bank, mix, 0, out, Combine::outputs, {}}});
  };
  EXPECT_THROW(with(4, 0, kOut), Error);
  EXPECT_THROW(with(3, 1, kOut), Error);
  EXPECT_THROW(with(3, 0, kOut - 1), Error);
}

}  // namespace
}  // namespace quiver::ops
