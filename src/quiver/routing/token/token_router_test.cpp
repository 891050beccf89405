// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/token_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/test_bank.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/general_knowledge.h"

namespace quiver::routing {
namespace {

class TokenScoresOf : public WithBank {
 protected:
  at::Tensor x_ = at::randn({6, 32});
  SilentProgress silent_;

  SiteTable directions(const adapter::Bank& bank, std::int64_t count, DirectionOptions::Length length) {
    DirectionOptions options;
    options.count = count;
    options.length = length;
    return compute_directions(bank, options, silent_);
  }
};

TEST_F(TokenScoresOf, SpectrIsTheSizeOfWhatEachExpertAdds) {
  const auto experts = bank({4, 2, 7});
  const DirectionScores scores(directions(*experts, 0, DirectionOptions::Length::gain), 3, {});
  const auto got = scores.at(first_sites(), x_);
  ASSERT_EQ(got.sizes(), (at::IntArrayRef{6, 9}));
  for (std::int64_t s = 0; s < 3; ++s) {
    for (std::int64_t e = 0; e < 3; ++e) {
      const auto added = x_.to(at::kDouble).matmul(dense(*experts, s, e).t()).norm(2, {1});
      const auto own = got.select(1, 3 * s + e).to(at::kDouble);
      EXPECT_LT(((own - added).abs() / added).max().item<double>(), 1e-5) << s << " " << e;
    }
  }
}

TEST_F(TokenScoresOf, SeqrGivesSpectrsScoresFromASharedA) {
  const auto experts = bank({4, 4, 4}, true);
  const DirectionScores spectr(directions(*experts, 0, DirectionOptions::Length::gain), 3, {});
  const auto expected = spectr.at(first_sites(), x_);
  const auto got = SharedInputScores(*experts).at(first_sites(), x_);
  EXPECT_LT(((got - expected).abs() / expected).max().item<double>(), 1e-5);
  EXPECT_THROW(SharedInputScores(*bank({4, 4})), Error) << "experts with A's of their own";
}

TEST_F(TokenScoresOf, SeveralUnitDirectionsMeasureTheProjectionOnTheirSpan) {
  const auto experts = bank({5, 3});
  const DirectionScores scores(directions(*experts, 2, DirectionOptions::Length::unit), 2, {});
  const auto got = scores.at({{0, 0, 32}}, x_).to(at::kDouble);
  for (std::int64_t e = 0; e < 2; ++e) {
    const auto [u, sigma, v] = at::linalg_svd(dense(*experts, 0, e), false);
    const auto expected = x_.to(at::kDouble).matmul(v.narrow(0, 0, 2).t()).norm(2, {1});
    EXPECT_LT((got.select(1, e) - expected).abs().max().item<double>(), 1e-5);
  }
}

TEST_F(TokenScoresOf, TiedQueryKeyValueShareTheDirectionOfTheirJointProduct) {
  auto base = bank({3}, true);
  adapter::Adapter own;
  for (std::size_t s = 0; s < model_.sites().size(); ++s) {
    auto f = base->site(static_cast<std::int64_t>(s)).experts[0];
    if (s < 3) f.a = base->site(0).experts[0].a;
    own.sites[model_.sites()[s].name] = f;
  }
  adapter::Bank tied(model_);
  tied.add("tied", own);
  DirectionOptions options;
  options.tie_qkv = true;
  EXPECT_THROW(compute_directions(*base, options, silent_), Error) << "the second layer's too have A's of their own";
  for (std::int64_t s = 0; s < 3; ++s) {
    const auto name = model_.sites()[static_cast<std::size_t>(7 + s)].name;
    own.sites[name].a = base->site(7).experts[0].a;
  }
  adapter::Bank both(model_);
  both.add("tied", own);
  const auto table = compute_directions(both, options, silent_);
  auto gram = at::zeros({32, 32}, at::kDouble);
  for (std::int64_t s = 0; s < 3; ++s) {
    const auto& f = both.site(s).experts[0];
    const auto product = f.b.to(at::kDouble).matmul(f.a.to(at::kDouble));
    gram += product.t().matmul(product);
  }
  const auto direction = table.site(0)[0].to(at::kDouble);
  EXPECT_TRUE(table.site(0)[0].equal(table.site(1)[0]));
  const auto turned = gram.matmul(direction);
  EXPECT_GT((turned.dot(direction) / turned.norm()).item<double>(), 1 - 1e-6) << "not an eigenvector";
}

TEST_F(TokenScoresOf, GeneralKnowledgeIsTakenAwayExactly) {
  const auto experts = bank({4, 2, 3});
  const auto less = without_general_knowledge(*experts, 1, {.weight = 0.5});
  for (std::int64_t s = 0; s < 7; ++s) {
    const auto expected = dense(*experts, s, 2) - 0.5 * dense(*experts, s, 1);
    EXPECT_LT((dense(*less, s, 2) - expected).abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>());
    EXPECT_FALSE(less->site(s).experts[1].a.defined());
  }
}

/// Scores that are given: expert e's is e everywhere.
class Given : public TokenScores {
 public:
  explicit Given(std::vector<float> scores) : scores_(std::move(scores)) {}
  at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const override {
    const auto one = at::tensor(scores_, at::kFloat);
    return one.repeat({x.size(0), static_cast<std::int64_t>(sites.size())});
  }

 private:
  std::vector<float> scores_;
};

TEST_F(TokenScoresOf, ScalesAndBiasesAreMixedByTheirWeightsAndAbsentExpertsByNone) {
  auto experts = bank({2});
  adapter::Adapter scales, biases;
  scales.extras[model_.sites()[0].name].output_scale = at::ones({model_.sites()[0].out}) * 2.0;
  biases.extras[model_.sites()[1].name].bias = at::ones({model_.sites()[1].out});
  experts->add("scales", scales);
  experts->add("biases", biases);
  const TokenRouter router(experts, std::make_shared<Given>(std::vector<float>{1.0f, 3.0f, 9.0f}), {.top_k = 0});
  const auto uses = router.bind({})->at(first_sites(), at::randn({4, 32}));
  ASSERT_EQ(uses.size(), 3u);
  const double one = std::exp(1.0), three = std::exp(3.0), nine = std::exp(9.0);
  const std::vector<std::vector<double>> expected{{one / (one + three), three / (one + three), 0.0},
                                                  {one / (one + nine), 0.0, nine / (one + nine)},
                                                  {1.0, 0.0, 0.0}};
  for (std::size_t s = 0; s < 3; ++s) {
    const auto weights = ops::dense_weights(*uses[s].mix, 3);
    for (std::int64_t e = 0; e < 3; ++e)
      EXPECT_NEAR(weights[3][e].item<double>(), expected[s][static_cast<std::size_t>(e)], 1e-5) << s << " " << e;
  }
}

TEST_F(TokenScoresOf, ChoicesByFactorsNeverTakeAnExpertWithoutAnyAndRefuseHalfOfOne) {
  auto experts = std::make_shared<adapter::Bank>(model_);
  adapter::LoraOptions options;
  options.targets = {"q_proj"};
  const auto factors = adapter::make_lora(model_, options, 1);
  adapter::Adapter biases;
  for (const auto& site : model_.sites()) biases.extras[site.name].bias = at::ones({site.out});
  experts->add("factors", factors);
  experts->add("biases", biases);
  const auto scores = std::make_shared<Given>(std::vector<float>{1.0f, 5.0f, 5.0f});
  const TokenRouter router(experts, scores, {.by_factors = true});
  const auto uses = router.bind({})->at(first_sites(), at::randn({4, 32}));
  ASSERT_EQ(uses.size(), 1u) << "k and v have no factors: the base model's output stands there";
  EXPECT_TRUE(at::equal(ops::dense_weights(*uses[0].mix, 2), at::tensor({1.0f, 0.0f}).repeat({4, 1})));
  auto both = factors;
  both.extras = biases.extras;
  experts->add("both", both);
  EXPECT_THROW(TokenRouter(experts, scores, {.by_factors = true}), Error) << "its biases at v would be lost";
  auto none = std::make_shared<adapter::Bank>(model_);
  none->add("biases", biases);
  EXPECT_THROW(TokenRouter(none, scores, {.by_factors = true}), Error);
}

TEST_F(TokenScoresOf, WhatNoChoiceByTokenCanApplyIsRefusedByName) {
  adapter::Adapter norms, vectors;
  norms.norms[model_.norms()[0].name] = at::ones({32});
  vectors.soft_prompt = at::ones({2, 32});
  for (const auto& expert : {norms, vectors}) {
    auto experts = bank({2});
    experts->add("odd", expert);
    try {
      const TokenRouter router(experts, std::make_shared<Given>(std::vector<float>{1.0f, 2.0f}), {});
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(std::string(error.what()).find("'odd'"), std::string::npos) << error.what();
    }
  }
}

TEST_F(TokenScoresOf, GeneralKnowledgeLeavesWhatIsNotFactors) {
  auto experts = bank({2, 2});
  auto both = experts->expert(0);
  both.extras[model_.sites()[3].name].bias = at::ones({model_.sites()[3].out});
  experts->add("both", both);
  const auto less = without_general_knowledge(*experts, 1, {.weight = 0.5});
  EXPECT_TRUE(less->site(3).extras.at(2).bias.equal(both.extras.at(model_.sites()[3].name).bias));
  EXPECT_THROW(without_general_knowledge(*experts, 2, {.weight = 0.5}), Error) << "a bias cannot be taken away";
  both.extras[model_.sites()[3].name].output_scale = at::ones({model_.sites()[3].out});
  experts->add("scaled", both);
  EXPECT_THROW(without_general_knowledge(*experts, 1, {.weight = 0.5}), Error);
}

TEST_F(TokenScoresOf, GeneralKnowledgeIsTakenFromEachFactorAsTheAuthorsDo) {
  using Convention = GeneralKnowledge::Convention;
  const auto experts = bank({4, 4, 3});
  const auto equal = std::make_shared<adapter::Bank>(experts->empty_copy());
  for (const std::int64_t e : {0, 1}) {
    adapter::Adapter own;
    for (std::size_t s = 0; s < model_.sites().size(); ++s)
      own.sites[model_.sites()[s].name] =
          experts->site(static_cast<std::int64_t>(s)).experts[static_cast<std::size_t>(e)];
    equal->add("e" + std::to_string(e), own);
  }
  const auto less = without_general_knowledge(*equal, 1, {.weight = 0.5, .convention = Convention::factors});
  for (std::int64_t s = 0; s < 7; ++s) {
    const auto& own = equal->site(s).experts[0];
    const auto& common = equal->site(s).experts[1];
    const auto& got = less->site(s).experts[0];
    EXPECT_TRUE(got.a.equal(own.a - common.a * 0.5));
    EXPECT_TRUE(got.b.equal(own.b - common.b * 0.5));
    EXPECT_EQ(got.scale, own.scale) << "the expert's, whatever the general one's";
    EXPECT_FALSE(less->site(s).experts[1].a.defined());
  }
  try {
    without_general_knowledge(*experts, 1, {.convention = Convention::factors});
    FAIL() << "ranks 4 and 3";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'e2' has rank 3"), std::string::npos) << error.what();
  }
}

TEST_F(TokenScoresOf, ATrainedTableGetsTheGradientOfItsScores) {
  const auto experts = bank({2, 2, 2});
  SiteTable table(model_.sites(), 3);
  auto flat = at::randn({table.flat().numel()}).mul_(0.1).set_requires_grad(true);
  table.set_flat(flat);
  DirectionScoreOptions options;
  options.signed_score = true;
  auto scores = std::make_shared<DirectionScores>(table, 3, options);
  const TokenRouter router(experts, scores, {.top_k = 2});
  const auto batch = model::pack({{std::vector<std::int32_t>{3, 9, 27, 31}, nullptr, true}});
  const auto loss = [&] { return model_.forward(batch, router.bind(batch).get()).square().sum(); };
  loss().backward();
  const auto gradient = flat.grad().clone();
  const c10::AutoGradMode no_gradient(false);
  std::int64_t checked = 0;
  const auto largest = gradient.abs().argsort(0, true);
  for (std::int64_t i = 0; i < 5; ++i) {
    const auto at = largest[i].item<std::int64_t>();
    constexpr float kStep = 1e-2f;
    auto* value = flat.data_ptr<float>() + at;
    const float kept = *value;
    *value = kept + kStep;
    const double up = loss().item<double>();
    *value = kept - kStep;
    const double down = loss().item<double>();
    *value = kept;
    const double expected = (up - down) / (2.0 * kStep), got = gradient[at].item<double>();
    EXPECT_NEAR(got, expected, 0.05 * std::abs(expected) + 1e-3) << at;
    ++checked;
  }
  EXPECT_EQ(checked, 5);
}

}  // namespace
}  // namespace quiver::routing
