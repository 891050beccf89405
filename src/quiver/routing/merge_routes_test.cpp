// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

class MergeRoute : public WithBank {
 protected:
  at::Tensor hidden(const Router& router) const {
    const c10::AutoGradMode no_gradient(false);
    const auto batch = model::pack({{std::vector<std::int32_t>{3, 9, 27, 31}, nullptr, true}});
    return model_.forward(batch, bind_once(router, batch, {Request{}}).get());
  }
  at::Tensor hidden(const std::string& route, std::shared_ptr<const adapter::Bank> bank) const {
    RouterInputs inputs;
    inputs.bank = std::move(bank);
    inputs.progress = &silent_;
    return hidden(*make_router(parse_route(route), inputs));
  }
  /// One expert with the difference `change` makes of the experts' at each site, [out, in] float64, in full rank.
  template <typename Change>
  std::shared_ptr<adapter::Bank> dense_expert(const adapter::Bank& bank, Change change) const {
    adapter::Adapter own;
    for (std::size_t s = 0; s < model_.sites().size(); ++s) {
      const auto [u, sigma, vt] = at::linalg_svd(change(static_cast<std::int64_t>(s)), false);
      own.sites[model_.sites()[s].name] = {vt.to(at::kFloat), (u * sigma).to(at::kFloat), 1.0};
    }
    auto out = std::make_shared<adapter::Bank>(bank.empty_copy());
    out->add("dense", own);
    return out;
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

  mutable SilentProgress silent_;
  static constexpr double kRounding =
      2e-5;  // float32 sums over at most 48 terms through two layers of values of order 1
};

TEST_F(MergeRoute, ExactMergesAreConstantMixes) {
  const auto experts = bank({3, 2, 4});
  EXPECT_LT(distance(hidden("merge:cat", experts), hidden("uniform", experts)), kRounding);
  EXPECT_LT(distance(hidden("merge:task-arithmetic,lambda=0.5", experts),
                     hidden(ConstantRouter(experts, {{0, 0.5f}, {1, 0.5f}, {2, 0.5f}}))),
            kRounding);
  EXPECT_LT(
      distance(hidden("merge:subtract", experts), hidden(ConstantRouter(experts, {{0, 1.0f}, {1, -0.5f}, {2, -0.5f}}))),
      kRounding);
  EXPECT_GT(distance(hidden("merge:cat", experts), hidden("base", experts)), 1e-2) << "the experts must do something";
}

TEST_F(MergeRoute, TheMethodsOptionsReachIt) {
  const auto experts = bank({3, 2});
  // D of rank 1 by the dense singular vectors of the mean.
  const auto expected = dense_expert(*experts, [&](std::int64_t s) {
    const auto [u, sigma, vt] = at::linalg_svd((dense(*experts, s, 0) + dense(*experts, s, 1)) / 2, false);
    return (u.narrow(1, 0, 1) * sigma[0]).matmul(vt.narrow(0, 0, 1));
  });
  EXPECT_LT(distance(hidden("merge:svd,rank=1", experts), hidden("expert:dense", expected)), kRounding);
  EXPECT_GT(distance(hidden("merge:svd,rank=2", experts), hidden("expert:dense", expected)), 1e-3);
}

TEST_F(MergeRoute, SitesThatAnExpertLacksCountAsZero) {
  const auto both = bank({3, 2});
  adapter::Adapter part;
  part.sites[model_.sites()[9].name] = both->site(9).experts[1];
  auto uneven = std::make_shared<adapter::Bank>(both->empty_copy());
  adapter::Adapter whole;
  for (std::size_t s = 0; s < model_.sites().size(); ++s)
    whole.sites[model_.sites()[s].name] = both->site(static_cast<std::int64_t>(s)).experts[0];
  uneven->add("whole", whole);
  uneven->add("part", part);
  EXPECT_LT(distance(hidden("merge:cat", uneven), hidden("uniform", uneven)), kRounding);
}

TEST_F(MergeRoute, WhatItCannotDoIsNamed) {
  const auto refused = [&](const std::string& route, std::shared_ptr<const adapter::Bank> bank,
                           const std::string& part) {
    try {
      hidden(route, std::move(bank));
      ADD_FAILURE() << route << ": expected an Error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const auto experts = bank({3, 2});
  refused("merge", experts, "merge:METHOD");
  refused("merge:tees", experts, "did you mean 'ties'");
  refused("merge:ties,densty=0.5", experts, "did you mean 'density'");
  refused("merge:cat", std::make_shared<adapter::Bank>(model_), "no experts");
}

}  // namespace
}  // namespace quiver::routing
