// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/routing/router.h"
#include "quiver/training/adaptation/adaptation_interval.h"
#include "quiver/training/adaptation/adaptation_merge.h"
#include "quiver/training/adaptation/adaptation_tune.h"
#include "quiver/training/row_loss.h"

namespace quiver::training {
namespace {

/// A library of three random experts and a set of skills over the tiny model.
class TinyAdaptation : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_adaptation_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    auto library = std::make_shared<const library::Library>(
        library::Library::open_or_create(folder_ / "library", "tiny", model_.fingerprint()));
    auto bank = std::make_shared<adapter::Bank>(model_);
    at::manual_seed(3);  // not every draw of experts has a mixture that helps
    for (const std::string name : {"other", "shared", "wide"}) {
      const auto expert = random_expert(name == "wide" ? 4 : 2);
      save(*library, name, expert);
      bank->add(name, library->load(name));
    }
    adapter::LoraOptions lora;
    lora.rank = 2;
    routing::SkillOptions skills;
    skills.skills = 3;
    skills.splits = 2;
    auto set = routing::make_skills(model_, lora, skills, {"a", "b"}, 1);
    set.factors = at::randn(set.factors.sizes()) * 0.1;
    routing::save_router(*library, routing::to_saved_router(set, "poly", nullptr));
    library_ = library;
    bank_ = bank;
    options_.train.lora.rank = 4;
    options_.train.lora.alpha = 8.0;
    options_.train.epochs = options_.train.max_steps = 8;
    options_.train.batch_rows = 4;
    options_.train.learning_rate = 1e-2;
    options_.skill_training.skill_learning_rate = 1e-2;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void save(const library::Library& library, const std::string& name, const adapter::Adapter& adapter) const {
    library::ExpertInfo info;
    info.name = name;
    info.tasks = {"task of " + name};
    info.base_fingerprint = model_.fingerprint();
    library.save(info, adapter, false);
  }

  adapter::Adapter random_expert(std::int64_t rank) const {
    adapter::LoraOptions options;
    options.rank = rank;
    options.alpha = 2.0 * static_cast<double>(rank);
    auto out = adapter::make_lora(model_, options, static_cast<std::uint64_t>(rank));
    for (auto& [site, f] : out.sites) {
      f.a = at::randn(f.a.sizes()) * 0.1;
      f.b = at::randn(f.b.sizes()) * 0.1;
    }
    return out;
  }

  static ExpertData examples() {
    ExpertData out{"new", {"new"}, {}, {}};
    for (std::int32_t i = 0; i < 6; ++i) out.train.push_back({{10 + i, 20, 30 + i, 5 + i % 2, 7}, 3, 1, 0});
    return out;
  }

  AdaptInputs inputs() { return {model_, library_, bank_, progress_}; }
  Adapted run(const std::string& regime) { return adapt(inputs(), regime, examples(), options_); }

  at::Tensor logits(const std::function<std::unique_ptr<model::ExpertSource>(const model::PackedBatch&)>& bind) const {
    const c10::AutoGradMode no_gradient(false);
    const std::vector<std::int32_t> ids{4, 50, 33, 9, 71, 8};
    const auto batch = model::pack({{ids, nullptr, true}});
    const auto source = bind(batch);
    return model_.logits(model_.forward(batch, source.get()));
  }

  at::Tensor logits_of(const adapter::Adapter& adapter) const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add("one", adapter);
    return logits([&](const auto& batch) { return routing::bind_rows(bank, batch, {{{0, 1.0f}}}); });
  }

  at::Tensor random_weights() const { return at::rand({static_cast<std::int64_t>(model_.sites().size()), 3}); }

  fs::path folder_;
  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  std::shared_ptr<const library::Library> library_;
  std::shared_ptr<const adapter::Bank> bank_;
  SilentProgress progress_;
  AdaptOptions options_;
};

// float32 logits of a few units, the same sums in another order.
constexpr double kClose = 1e-4;

TEST_F(TinyAdaptation, MergedFactorsAreTheFactorsOrderOfAMix) {
  const auto merged = merge_factors(*bank_, site_weights(*bank_, {0.5, -0.25, 0.7}));
  const auto mixed = logits([&](const auto& batch) {
    return routing::bind_rows(bank_, batch, {{{0, 0.5f}, {1, -0.25f}, {2, 0.7f}}}, ops::Combine::factors);
  });
  EXPECT_TRUE(at::allclose(logits_of(merged), mixed, 0.0, kClose));
  EXPECT_EQ(merged.options.rank, 4);
}

TEST_F(TinyAdaptation, MergedProductsAreTheOutputsOrderOfAMix) {
  const auto merged = merge_products(*bank_, site_weights(*bank_, {0.5, -0.25, 0.7}));
  const auto mixed = logits([&](const auto& batch) {
    return routing::bind_rows(bank_, batch, {{{0, 0.5f}, {1, -0.25f}, {2, 0.7f}}});
  });
  EXPECT_TRUE(at::allclose(logits_of(merged), mixed, 0.0, kClose));
  EXPECT_EQ(merged.options.rank, 8);
}

TEST_F(TinyAdaptation, WeightsPerSiteAreWhatTheirMergeIs) {
  const auto weights = random_weights();
  const auto bound = logits([&](const auto& batch) { return bind_weighted({bank_, weights}, batch); });
  EXPECT_TRUE(at::allclose(logits_of(merge_products(*bank_, weights)), bound, 0.0, kClose));
}

TEST_F(TinyAdaptation, TruncationKeepsTheLargestSingularValues) {
  const auto whole = merge_products(*bank_, random_weights());
  const auto same = truncated(whole, 8);
  const auto less = truncated(whole, 3);
  for (const auto& [site, f] : whole.sites) {
    const auto product = at::matmul(f.b, f.a);
    EXPECT_TRUE(at::allclose(at::matmul(same.sites.at(site).b, same.sites.at(site).a), product, 0.0, 1e-5)) << site;
    const auto [u, sigma, vh] = at::linalg_svd(product, false);
    const auto lost = (product - at::matmul(less.sites.at(site).b, less.sites.at(site).a)).norm().item<double>();
    EXPECT_NEAR(lost, sigma.narrow(0, 3, sigma.size(0) - 3).norm().item<double>(), 1e-4) << site;
    EXPECT_EQ(less.sites.at(site).a.size(0), 3);
  }
}

TEST_F(TinyAdaptation, GradientsReachTheWeights) {
  const auto all = examples().train;
  std::vector<WeightedRow> rows;
  for (const auto& row : all) rows.push_back({&row, 0.1});
  const auto loss = [&](const at::Tensor& weights) {
    const auto bind = [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) {
      return bind_weighted({bank_, weights}, batch);
    };
    const auto pass = model::answer_pass(model_, answer_rows(rows), bind);
    return weighted_loss(model_, pass.hidden, rows);
  };
  auto weights = random_weights().set_requires_grad(true);
  loss(weights).backward();
  const auto gradient = weights.grad();
  ASSERT_GT(gradient.norm().item<double>(), 1e-3);
  const c10::AutoGradMode no_gradient(false);
  // Along the gradient the slope is its length; a step of 0.02 changes the loss by far more than float32's 1e-6.
  const auto direction = gradient / gradient.norm() * 0.02;
  const double slope = (loss(weights + direction).item<double>() - loss(weights - direction).item<double>()) / 0.04;
  EXPECT_NEAR(slope, gradient.norm().item<double>(), 0.02 * gradient.norm().item<double>());
}

TEST_F(TinyAdaptation, EveryRegimeLearnsTheExamplesAndIsRepeatable) {
  for (const auto& regime : regime_table()) {
    const auto one = run(regime.name), two = run(regime.name);
    EXPECT_LT(one.loss, one.loss_before) << regime.name;
    EXPECT_GT(one.trained, 0) << regime.name;
    EXPECT_EQ(one.loss, two.loss) << regime.name;
    EXPECT_NEAR(loss_under(model_, one.adapter, examples().train), one.loss, 1e-6) << regime.name;
    EXPECT_EQ(one.adapter.sites.size(), model_.sites().size()) << regime.name;
  }
}

TEST_F(TinyAdaptation, WhatIsAdaptedCanBeKeptAsAnExpert) {
  for (const std::string regime : {"selector", "arrow-init", "lorahub", "poly"}) {
    const auto found = run(regime);
    save(*library_, regime, found.adapter);
    EXPECT_TRUE(at::allclose(logits_of(library_->load(regime)), logits_of(found.adapter), 0.0, kClose)) << regime;
  }
}

TEST_F(TinyAdaptation, NearestIsTheExpertThatKnowsTheTask) {
  const auto expert = run("private").adapter;
  save(*library_, "knows", expert);
  auto bank = std::make_shared<adapter::Bank>(*bank_);
  bank->add("knows", expert);
  bank_ = bank;
  const auto nearest = run("nearest");
  EXPECT_EQ(nearest.note, "knows");
  EXPECT_LT(nearest.loss, nearest.loss_before);
}

TEST_F(TinyAdaptation, RetrievalTakesAsManyAsAskedFor) {
  options_.retrieval.top_k = 1;
  const auto found = run("library-mean-retrieved");
  EXPECT_TRUE(found.note == "other" || found.note == "shared" || found.note == "wide") << found.note;
  options_.retrieval.kind = clustering::Retriever::random;
  options_.retrieval.top_k = 2;
  const auto two = run("library-mean-retrieved").note;
  EXPECT_EQ(std::count(two.begin(), two.end(), ' '), 1) << two;
}

TEST_F(TinyAdaptation, ASelectorOfSkillsIsSmallAndLeavesTheLibraryAlone) {
  const auto before = routing::read_skills(*library_, "poly");
  EXPECT_EQ(run("poly-z").trained, 14 * 2 * 3);
  run("poly");
  EXPECT_TRUE(at::equal(routing::read_skills(*library_, "poly").factors, before.factors));
}

TEST_F(TinyAdaptation, ArrowsMeanWeightsAreShares) {
  const auto weights = mean_arrow_weights(inputs(), examples().train);
  EXPECT_TRUE(at::allclose(weights.sum(1), at::zeros({14}) + 1.0, 0.0, 1e-5));
  EXPECT_GE(weights.min().item<float>(), 0.0f);
}

TEST_F(TinyAdaptation, SaysWhatIsMissing) {
  const auto message = [&](const std::string& regime) -> std::string {
    try {
      run(regime);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    ADD_FAILURE() << "expected an Error";
    return "";
  };
  EXPECT_NE(message("privat").find("private"), std::string::npos);
  options_.start = "share";
  EXPECT_NE(message("shared").find("shared"), std::string::npos);
  options_.skills = "pol";
  EXPECT_NE(message("poly").find("poly"), std::string::npos);
  for (const std::string regime : {"shared", "poly-mu", "mhr-z"})
    EXPECT_THROW(check_sources(inputs(), regime, options_), Error) << regime;
  EXPECT_NO_THROW(check_sources(inputs(), "nearest", options_));
  bank_ = std::make_shared<adapter::Bank>(model_);
  for (const std::string regime : {"nearest", "selector", "arrow-init", "lorahub"})
    EXPECT_THROW(check_sources(inputs(), regime, options_), Error) << regime;
  EXPECT_NO_THROW(check_sources(inputs(), "private", options_));
}

TEST(MeanInterval, IsStudents) {
  const std::vector<double> values{0.5, 0.6, 0.7};
  const auto found = mean_interval(values);
  EXPECT_NEAR(found.mean, 0.6, 1e-12);
  // s = 0.1, t(2) = 4.3027: half width 4.3027 * 0.1 / sqrt 3.
  EXPECT_NEAR(found.high - found.mean, 0.248416, 1e-5);
  EXPECT_NEAR(found.mean - found.low, 0.248416, 1e-5);
  const std::vector<double> one{0.25};
  EXPECT_EQ(mean_interval(one).low, 0.25);
  EXPECT_THROW(mean_interval({}), Error);
}

}  // namespace
}  // namespace quiver::training
