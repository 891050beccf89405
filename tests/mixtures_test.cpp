// SPDX-License-Identifier: Apache-2.0
// ATTEMPT, AdapterFusion and AdaMix against plain PyTorch (tools/goldens/mixture_golden.py), and that they learn.
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "quiver/adapter/derived.h"
#include "quiver/adapter/kinds.h"
#include "quiver/adapter/peft.h"
#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/routing/learned/fusion.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/methods/adamix.h"
#include "quiver/training/methods/fusion_training.h"
#include "quiver/training/methods/moa_training.h"
#include "quiver/training/methods/prompt_training.h"
#include "quiver/training/row_loss.h"

namespace quiver {
namespace {

class Mixtures : public testing::Test {
 protected:
  Mixtures() {
    const auto rows = tensor_io::open_safetensors(golden("llama_untied/golden.safetensors"));
    for (int n = 0; n < 3; ++n) {
      auto& row = rows_.emplace_back();
      row.row.ids = ids_of(rows->load("ids." + std::to_string(n)));
      row.row.target_begin = 1;
      targets_ += static_cast<double>(row.row.ids.size()) - 1;
    }
  }

  at::Tensor expected(const std::string& name) const { return file_->load(name); }
  at::Tensor trained(const std::string& name) const { return expected(name).clone().set_requires_grad(true); }
  std::vector<training::WeightedRow> weighted() const {
    std::vector<training::WeightedRow> out;
    for (const auto& row : rows_) out.push_back({&row.row, 1.0 / targets_});
    return out;
  }
  std::shared_ptr<adapter::Bank> bottlenecks() const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (const auto* name : {"series", "beside"}) {
      const auto whole = adapter::read_peft(golden("kinds") / name);
      adapter::Adapter own;
      for (const auto& [site, extras] : whole.extras) {
        if (extras.bottleneck) own.extras[site].bottleneck = extras.bottleneck;
      }
      bank->add(name, own);
    }
    return bank;
  }
  std::shared_ptr<adapter::Bank> prompts() const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (int k = 0; k < 3; ++k) {
      adapter::Adapter own;
      own.soft_prompt = expected("attempt.sources")[k];
      bank->add("source" + std::to_string(k), own);
    }
    return bank;
  }
  training::RoutedTraining training() {
    options_.batch_rows = 3;
    options_.epochs = options_.max_steps = 40;
    options_.learning_rate = 0.05;
    return {model_, options_, progress_, "test"};
  }

  model::Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  std::shared_ptr<const tensor_io::TensorSource> file_ =
      tensor_io::open_safetensors(golden("mixtures/golden.safetensors"));
  std::vector<training::RoutedRow> rows_;
  double targets_ = 0;
  training::TrainOptions options_;
  SilentProgress progress_;
};

TEST_F(Mixtures, AttemptsPromptsAndGradientsEqualTheReference) {
  routing::Attempt attempt{expected("attempt.sources"),
                           trained("attempt.prompt"),
                           trained("attempt.down"),
                           trained("attempt.up"),
                           trained("attempt.norm_weight"),
                           trained("attempt.norm_bias"),
                           expected("attempt.temperature").item<double>()};
  at::Tensor loss;
  for (std::size_t n = 0; n < rows_.size(); ++n) {
    const auto prompt = routing::attempt_prompt(attempt, model_.embedding(), rows_[n].row.ids);
    EXPECT_LT(distance(prompt, expected("attempt.out." + std::to_string(n))), 1e-5);
    const auto term = (prompt * expected("attempt.factor")).sum();
    loss = loss.defined() ? loss + term : term;
  }
  EXPECT_NEAR(loss.item<double>(), expected("attempt.loss").item<double>(), 1e-3);
  loss.backward();
  const std::pair<const char*, at::Tensor> all[]{{"prompt", attempt.prompt},
                                                 {"down", attempt.down},
                                                 {"up", attempt.up},
                                                 {"norm_weight", attempt.norm_weight},
                                                 {"norm_bias", attempt.norm_bias}};
  for (const auto& [name, t] : all)
    EXPECT_LT(distance(t.grad(), expected(std::string("attempt.grad.") + name)), 1e-4) << name;
}

TEST_F(Mixtures, AttemptLearnsIsKeptAndRoutes) {
  auto attempt = training::start_attempt(*prompts(), {.width = 5}, 3);
  EXPECT_NEAR(attempt.temperature, 32 * 2.718281828, 1e-6);
  const auto result = training::train_attempt(training(), attempt, {.width = 5}, rows_, rows_);
  EXPECT_LT(result.validation_loss, 0.95 * result.first_validation);
  EXPECT_TRUE(at::equal(attempt.sources, at::stack({expected("attempt.sources")[0], expected("attempt.sources")[1],
                                                    expected("attempt.sources")[2]})));
  const auto kept = routing::read_attempt(routing::save_attempt("a", attempt), model_);
  const c10::AutoGradMode no_gradient(false);
  // A router over the prompts gives the loss that training ended with.
  std::vector<routing::Request> requests;
  for (const auto& row : rows_) requests.push_back({"", {row.row.ids[0]}});
  const routing::AttemptRouter router(model_, kept);
  const auto pass =
      model::answer_pass(model_, training::answer_rows(weighted()), routing::bind_requests(router, requests));
  EXPECT_NEAR(training::weighted_loss(model_, pass.hidden, weighted()).item<double>(), result.validation_loss, 1e-4);
}

TEST_F(Mixtures, AttemptRefusesSourcesWithoutPromptsAndDamagedFiles) {
  EXPECT_THROW(training::start_attempt(*bottlenecks(), {}, 1), Error);
  auto saved = routing::save_attempt("a", training::start_attempt(*prompts(), {.width = 5}, 3));
  saved.tensors.at("attention.up.weight") = saved.tensors.at("attention.down.weight");
  EXPECT_THROW(routing::read_attempt(saved, model_), Error);
  saved.tensors.erase("attention.up.weight");
  EXPECT_THROW(routing::read_attempt(saved, model_), Error);
}

TEST_F(Mixtures, FusionsOutputsAndGradientsEqualTheReference) {
  routing::Fusion fusion;
  for (std::size_t s = 0; s < model_.sites().size(); ++s) {
    const auto name = "fusion." + model_.sites()[s].name;
    if (!file_->tensors().contains(name + ".query")) continue;
    fusion.sites[static_cast<std::int64_t>(s)] = {trained(name + ".query"), trained(name + ".query_bias"),
                                                  trained(name + ".key"), trained(name + ".key_bias"),
                                                  trained(name + ".value")};
  }
  ASSERT_EQ(fusion.sites.size(), 4u);
  const routing::FusionRouter router(bottlenecks(), fusion);
  const auto bind = routing::bind_requests(router, std::vector<routing::Request>(rows_.size()));
  const auto pass = model::answer_pass(model_, training::answer_rows(weighted()), bind);
  const auto logits = model_.logits(pass.hidden.detach());
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < rows_.size(); ++n) {
    const auto own = expected("fusion.logits." + std::to_string(n));
    EXPECT_LT(distance(logits.narrow(0, begin, own.size(0) - 1), own.narrow(0, 0, own.size(0) - 1)), 2e-5) << n;
    begin += own.size(0) - 1;
  }
  const auto loss = training::weighted_loss(model_, pass.hidden, weighted());
  EXPECT_NEAR(loss.item<double>(), expected("fusion.loss").item<double>(), 1e-5);
  loss.backward();
  for (const auto& [number, site] : fusion.sites) {
    const auto name = "fusion.grad." + model_.sites()[static_cast<std::size_t>(number)].name;
    EXPECT_LT(distance(site.query.grad(), expected(name + ".query")), 1e-4) << name;
    EXPECT_LT(distance(site.query_bias.grad(), expected(name + ".query_bias")), 1e-4) << name;
    EXPECT_LT(distance(site.key.grad(), expected(name + ".key")), 1e-4) << name;
    EXPECT_LT(distance(site.value.grad(), expected(name + ".value")), 1e-4) << name;
    // A key's bias moves all scores of a token alike.
    EXPECT_LT(site.key_bias.grad().abs().max().item<double>(), 1e-5) << name;
  }
}

TEST_F(Mixtures, FusionLearnsAndIsKept) {
  auto bank = bottlenecks();
  auto fusion = training::start_fusion(model_, *bank, {}, 3);
  auto set = training();
  options_.learning_rate = 0.01;
  const auto result = training::train_fusion(set, bank, fusion, {}, rows_, rows_);
  EXPECT_LT(result.validation_loss, 0.9 * result.first_validation);
  const auto saved = routing::save_fusion("f", model_, *bank, fusion);
  EXPECT_EQ(saved.experts, bank->names());
  const routing::FusionRouter router(bank, routing::read_fusion(saved, model_));
  const c10::AutoGradMode no_gradient(false);
  const auto pass = model::answer_pass(model_, training::answer_rows(weighted()),
                                       routing::bind_requests(router, std::vector<routing::Request>(rows_.size())));
  EXPECT_NEAR(training::weighted_loss(model_, pass.hidden, weighted()).item<double>(), result.validation_loss, 1e-4);
  EXPECT_THROW(routing::check_fusable(*prompts()), Error);
}

TEST_F(Mixtures, AdaMixsDivergenceEqualsTorchs) {
  const auto value = training::symmetric_divergence(expected("divergence.a"), expected("divergence.b"));
  EXPECT_NEAR(value.item<double>(), expected("divergence.value").item<double>(), 1e-5);
}

TEST_F(Mixtures, AdaMixLearnsAndBecomesOneAdapter) {
  for (const auto* kind : {"lora", "bottleneck"}) {
    adapter::KindOptions kinds;
    kinds.kinds = {kind};
    kinds.width = 4;
    const auto start = [&](std::int64_t copy) {
      return adapter::make_adapter(model_, {.rank = 2}, kinds, static_cast<std::uint64_t>(copy));
    };
    training::Figures result;
    auto set = training();
    options_.learning_rate = 0.02;
    const auto adapter = training::train_adamix(set, {.copies = 3}, start, rows_, rows_, result);
    EXPECT_LT(result.validation_loss, 0.9 * result.first_validation);
    EXPECT_EQ(adapter.parameters(), start(0).parameters());
    auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add("own", adapter);
    const c10::AutoGradMode no_gradient(false);
    const auto pass = model::answer_pass(
        model_, training::answer_rows(weighted()), [&](const model::PackedBatch& batch, const auto&) {
          return routing::bind_rows(bank, batch, std::vector<std::vector<ops::ExpertWeight>>(3, {{0, 1.0f}}));
        });
    EXPECT_NEAR(training::weighted_loss(model_, pass.hidden, weighted()).item<double>(), result.validation_loss, 1e-4);
  }
}

/// One copy is drawn every time: without consistency AdaMix is plain training.
TEST_F(Mixtures, AdaMixOfOneCopyAgreesWithItself) {
  const auto start = [&](std::int64_t) { return adapter::make_adapter(model_, {.rank = 2}, {}, 5); };
  double losses[2];
  for (int with = 0; with < 2; ++with) {
    training::Figures result;
    training::train_adamix(training(), {.copies = 1, .consistency = with ? 1.0 : 0.0}, start, rows_, rows_, result);
    losses[with] = result.validation_loss;
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-5);  // two passes of one copy never differ
}

/// Experts and classifiers learn; without L_cls the experts are those of L_LM alone, and the classifiers stay at 0.
TEST_F(Mixtures, MoaTrainsExpertsAndClassifiersTogether) {
  for (std::size_t n = 0; n < rows_.size(); ++n) {
    rows_[n].label = static_cast<std::int64_t>(n % 2);
    rows_[n].row.target_begin = 2;
  }
  std::vector<std::vector<at::Tensor>> factors;
  for (const double eta : {1.0, 0.0}) {
    std::vector<adapter::Adapter> experts;
    for (std::uint64_t e = 0; e < 2; ++e) experts.push_back(adapter::make_adapter(model_, {.rank = 2}, {}, e));
    routing::Classifiers classifiers;
    training::MoaTraining how;
    how.eta = eta;
    how.classifier_learning_rate = 0.05;
    const auto result = training::train_moa(training(), experts, classifiers, how, rows_, rows_);
    EXPECT_LT(result.validation_loss, 0.9 * result.first_validation);
    auto& own = factors.emplace_back();
    for (const auto& expert : experts) own.push_back(expert.sites.begin()->second.b);
    ASSERT_EQ(classifiers.size(), 2u);  // layers
    const bool zero = classifiers.at(1).weights[0].abs().max().item<double>() == 0;
    EXPECT_EQ(zero, eta == 0.0);
    if (zero) continue;
    // Read as a router, each prompt goes to its domain.
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (std::size_t e = 0; e < 2; ++e) bank->add("e" + std::to_string(e), experts[e]);
    const routing::MoaRouter router(bank, model_, how.shape, classifiers, {});
    std::vector<routing::Request> requests;
    for (const auto& row : rows_) requests.push_back({"", {row.row.ids.begin(), row.row.ids.begin() + 2}});
    const auto decisions = router.decide(requests);
    for (std::size_t n = 0; n < rows_.size(); ++n) EXPECT_EQ(decisions[n].elsewhere, rows_[n].label) << n;
  }
  EXPECT_FALSE(at::equal(factors[0][0], factors[1][0]));  // L_cls reaches the experts
  std::vector<adapter::Adapter> none;
  routing::Classifiers classifiers;
  EXPECT_THROW(training::train_moa(training(), none, classifiers, {}, rows_, rows_), Error);
}

TEST_F(Mixtures, TaskPromptsLearnTogetherAndStartANewTask) {
  adapter::KindOptions kinds;
  kinds.kinds = {"mpt"};
  kinds.prompt_tokens = 4;
  kinds.of<adapter::TaskPromptOptions>().tasks = 3;
  auto prompts = adapter::make_adapter(model_, {}, kinds, 3);
  for (std::size_t n = 0; n < rows_.size(); ++n) rows_[n].label = static_cast<std::int64_t>(n);
  const auto result = training::train_task_prompts(training(), prompts, rows_, rows_);
  EXPECT_LT(result.validation_loss, 0.95 * result.first_validation);
  EXPECT_GT(distance(adapter::task_prompt(prompts, 0, "p"), adapter::task_prompt(prompts, 1, "p")), 1e-3);
  const auto fresh = adapter::for_new_task(prompts);
  EXPECT_EQ(fresh.stored_at("", adapter::kTaskColumns).size(0), 1);
  const auto columns = prompts.stored_at("", adapter::kTaskColumns).mean(0),
             rows = prompts.stored_at("", adapter::kTaskRows).mean(0);
  EXPECT_LT(
      distance(adapter::applied(prompts, model_.sites(), "p").soft_prompt, prompts.soft_prompt * columns.matmul(rows)),
      1e-6);
  auto& short_rows = prompts.stored[""][adapter::kTaskRows];
  short_rows = short_rows.narrow(2, 0, 31);
  EXPECT_THROW(adapter::task_prompt(prompts, 0, "p"), Error);
}

}  // namespace
}  // namespace quiver
