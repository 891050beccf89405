// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/skill_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/routing/router.h"
#include "quiver/training/row_loss.h"

namespace quiver::training {
namespace {

class TinySkillTraining : public testing::Test {
 protected:
  TinySkillTraining() {
    options_.epochs = options_.max_steps = 12;
    options_.batch_rows = 4;
    options_.warmup = 0.0;
  }

  routing::SkillSet skills(std::int64_t splits) const {
    adapter::LoraOptions lora;
    lora.rank = 2;
    lora.alpha = 4.0;
    routing::SkillOptions options;
    options.skills = 3;
    options.splits = splits;
    auto set = routing::make_skills(model_, lora, options, {"t0", "t1"}, 1);
    set.factors = set.factors + at::randn(set.factors.sizes()) * 0.1;  // B too, or a selector has nothing to choose
    return set;
  }

  /// Task 0 answers 5, task 1 answers 40, to the same prompts.
  static std::vector<RoutedRow> rows() {
    std::vector<RoutedRow> out;
    for (std::int32_t i = 0; i < 8; ++i) {
      for (const std::int64_t task : {0, 1}) out.push_back({{{10 + i, 20, 30 + i, task == 0 ? 5 : 40}, 3, 1, 0}, task});
    }
    return out;
  }

  Figures train(routing::SkillSet& set, const SkillTraining& how) {
    return train_skills({model_, options_, progress_, "test"}, set, how, rows(), {});
  }

  /// Of all rows; gradients are added to what requires them.
  double loss(const routing::SkillSet& set) const {
    const auto all = rows();
    std::vector<WeightedRow> weighted;
    std::vector<std::vector<ops::ExpertWeight>> pairs;
    for (const auto& row : all) {
      weighted.push_back({&row.row, 1.0 / static_cast<double>(all.size())});
      pairs.push_back({{row.label, 1.0f}});
    }
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (const auto& adapter :
         routing::fold(set, routing::skill_weights(routing::skill_use(set.logits, set.options), set.options)))
      bank->add("t", adapter);
    const auto bind = [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) {
      return routing::bind_rows(bank, batch, pairs);
    };
    const auto pass = model::answer_pass(model_, answer_rows(weighted), bind);
    const auto total = weighted_loss(model_, pass.hidden, weighted);
    if (total.requires_grad()) total.backward();
    return total.item<double>();
  }

  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  TrainOptions options_;
  SilentProgress progress_;
};

TEST_F(TinySkillTraining, LearnsTasksThatContradictEachOther) {
  for (const std::int64_t splits : {1, 2}) {
    auto set = skills(splits);
    options_.epochs = options_.max_steps = 60;
    SkillTraining how;
    how.skill_learning_rate = 2e-2;
    const double before = loss(set);
    const auto result = train(set, how);
    EXPECT_EQ(result.steps, 60);
    EXPECT_LT(loss(set), 0.25 * before) << "one adapter for both cannot go below ln 2 = 0.69";
    EXPECT_LT(loss(set), 0.5);
    EXPECT_GT((set.logits[0] - set.logits[1]).abs().max().item<double>(), 0.5);
  }
}

TEST_F(TinySkillTraining, ASelectorAloneLeavesTheSkillsAsTheyWere) {
  auto set = skills(2);
  const auto factors = set.factors.clone(), logits = set.logits.clone();
  SkillTraining how;
  how.train_skills = false;
  const double before = loss(set);
  train(set, how);
  EXPECT_TRUE(at::equal(set.factors, factors));
  EXPECT_FALSE(at::allclose(set.logits, logits, 0.0, 0.1));
  EXPECT_LT(loss(set), before);
  EXPECT_FALSE(set.logits.requires_grad());
}

TEST_F(TinySkillTraining, SkillsAloneLeaveTheSelectorAsItWas) {
  auto set = skills(1);
  const auto factors = set.factors.clone(), logits = set.logits.clone();
  SkillTraining how;
  how.train_selector = false;
  train(set, how);
  EXPECT_TRUE(at::equal(set.logits, logits));
  EXPECT_FALSE(at::equal(set.factors, factors));
}

TEST_F(TinySkillTraining, NoiseAndDropoutAreRepeatable) {
  SkillTraining how;
  how.noise.relaxed_bernoulli = true;
  how.noise.dropout = 0.25;
  auto one = skills(1), two = one, without = one;
  two.factors = one.factors.clone();
  two.logits = one.logits.clone();
  without.factors = one.factors.clone();
  without.logits = one.logits.clone();
  train(one, how);
  train(two, how);
  EXPECT_TRUE(at::equal(one.factors, two.factors));
  EXPECT_TRUE(at::equal(one.logits, two.logits));
  train(without, {});
  EXPECT_FALSE(at::equal(one.factors, without.factors));
}

TEST_F(TinySkillTraining, TheGradientIsTheSlopeOfTheLoss) {
  auto set = skills(2);
  for (auto* values : {&set.logits, &set.factors}) {
    values->set_requires_grad(true);
    loss(set);
    const auto gradient = values->grad().clone();
    *values = values->detach();
    // Along the gradient the slope is its length. float32: the losses carry 1e-6, the step is 1e-2 of a change of the
    // loss near 1e-2, so a share of 1e-3 is lost to rounding, and the curvature is even about the middle.
    const auto direction = gradient / gradient.norm();
    const auto middle = *values;
    const double step = 2e-2;
    *values = middle + direction * step;
    const double above = loss(set);
    *values = middle - direction * step;
    const double below = loss(set);
    *values = middle;
    EXPECT_NEAR((above - below) / (2 * step), gradient.norm().item<double>(), 0.01 * gradient.norm().item<double>());
  }
}

TEST(SelectorNoise, IsWhatItSays) {
  routing::SkillOptions options;
  options.skills = 4;
  const auto logits = at::full({50, 10, 1, 4}, 0.5f).set_requires_grad(true);
  Random random(3);
  EXPECT_TRUE(at::equal(noisy_use(logits, options, {}, random), routing::skill_use(logits, options)));

  SelectorNoise relaxed;
  relaxed.relaxed_bernoulli = true;
  const auto m = noisy_use(logits, options, relaxed, random).detach();
  // P(m > 1/2) = sigmoid(0.5) = 0.622; 2000 draws: standard error 0.011.
  EXPECT_NEAR((m > 0.5).to(at::kFloat).mean().item<double>(), 0.622, 0.045);
  EXPECT_GT(m.std().item<double>(), 0.2);

  SelectorNoise rounded;
  rounded.straight_through = true;
  const auto hard = noisy_use(logits, options, rounded, random);
  EXPECT_TRUE(at::allclose(hard.detach(), at::full({50, 10, 1, 4}, 1.0f)));
  hard.sum().backward();
  EXPECT_TRUE(at::allclose(logits.grad(), at::full({50, 10, 1, 4}, 0.2350037f))) << "sigmoid's slope at 0.5";

  SelectorNoise dropped;
  dropped.dropout = 0.25;
  const auto kept = noisy_use(logits.detach(), options, dropped, random);
  EXPECT_NEAR((kept == 0).to(at::kFloat).mean().item<double>(), 0.25, 0.04);  // standard error 0.0097
  EXPECT_NEAR(kept.max().item<double>(), 0.6224593 / 0.75, 1e-5);
}

TEST_F(TinySkillTraining, RefusesWhatCannotBe) {
  auto set = skills(1);
  SkillTraining nothing;
  nothing.train_selector = nothing.train_skills = false;
  EXPECT_THROW(train(set, nothing), Error);
  SkillTraining all_dropped;
  all_dropped.noise.dropout = 1.0;
  EXPECT_THROW(train(set, all_dropped), Error);
}

TEST_F(TinySkillTraining, ANewTaskGetsAFreshSelectorOverTheSameSkills) {
  auto set = skills(2);
  set.logits = at::full(set.logits.sizes(), 2.0f);
  auto own = for_new_task(set, "new", 4);
  EXPECT_EQ(own.tasks, std::vector<std::string>{"new"});
  EXPECT_LE(own.logits.abs().max().item<float>(), 1e-3f);
  EXPECT_EQ(own.logits.size(1), set.selectors());
  own.factors.zero_();
  EXPECT_GT(set.factors.abs().max().item<float>(), 0.0f) << "the skills are copied";
}

}  // namespace
}  // namespace quiver::training
