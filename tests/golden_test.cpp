// SPDX-License-Identifier: Apache-2.0
// Against transformers and PEFT: numbers that tools/goldens/*.py wrote with the public packages.
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "quiver/adapter/bank.h"
#include "quiver/adapter/peft.h"
#include "quiver/model/load.h"
#include "quiver/ops/adamw.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/learned/xlora_router.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/general_knowledge.h"
#include "quiver/routing/token/token_router.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver {
namespace {

using model::Model;

// float32 sums over at most 96 terms in another order than torch's: a few parts in a million of the spread.
constexpr double kForward = 2e-5;

at::Tensor logits_of(const Model& model, const std::vector<std::int32_t>& ids, const routing::Router* router) {
  const c10::AutoGradMode no_gradient(false);
  const auto batch = model::pack({{ids, nullptr, true}});
  const auto experts = router ? routing::bind_once(*router, batch, {{"", ids}}) : nullptr;
  return model.logits(model.forward(batch, experts.get()));
}

class TinyLlama : public testing::TestWithParam<const char*> {};

TEST_P(TinyLlama, LogitsEqualTransformers) {
  const auto model = model::load_model(golden(GetParam()), at::kFloat);
  const auto file = tensor_io::open_safetensors(golden(GetParam()) / "golden.safetensors");
  for (int n = 0; n < 3; ++n) {
    const auto ids = ids_of(file->load("ids." + std::to_string(n)));
    EXPECT_LT(distance(logits_of(model, ids, nullptr), file->load("logits." + std::to_string(n))), kForward);
  }
}

TEST_P(TinyLlama, RowsOfAPackedBatchDoNotDependOnTheirNeighbours) {
  const c10::AutoGradMode no_gradient(false);
  const auto model = model::load_model(golden(GetParam()), at::kFloat);
  const auto file = tensor_io::open_safetensors(golden(GetParam()) / "golden.safetensors");
  std::vector<std::vector<std::int32_t>> rows;
  for (int n = 0; n < 3; ++n) rows.push_back(ids_of(file->load("ids." + std::to_string(n))));
  const auto batch = model::pack({{rows[2], nullptr, true}, {rows[0], nullptr, true}, {rows[1], nullptr, true}});
  const auto all = model.logits(model.forward(batch, nullptr));
  const int order[] = {2, 0, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto own = all.narrow(0, batch.rows[i].begin, batch.rows[i].count);
    EXPECT_LT(distance(own, file->load("logits." + std::to_string(order[i]))), kForward);
  }
}

TEST_P(TinyLlama, ACacheContinuesWhatTheWholeRowComputes) {
  const c10::AutoGradMode no_gradient(false);
  const auto model = model::load_model(golden(GetParam()), at::kFloat);
  const auto file = tensor_io::open_safetensors(golden(GetParam()) / "golden.safetensors");
  const auto ids = ids_of(file->load("ids.2"));
  const auto expected = file->load("logits.2");
  model::RowCache cache;
  std::int64_t done = 0;
  for (const std::int64_t count : {std::int64_t{1}, std::int64_t{3}, static_cast<std::int64_t>(ids.size()) - 4}) {
    const auto part = std::span(ids).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count));
    const auto branch = model.logits(model.forward(model::pack({{part, &cache, false}}), nullptr));
    const auto kept = model.logits(model.forward(model::pack({{part, &cache, true}}), nullptr));
    EXPECT_LT(distance(kept, expected.narrow(0, done, count)), kForward);
    EXPECT_LT(distance(branch, expected.narrow(0, done, count)), kForward);
    done += count;
    EXPECT_EQ(cache.length(), done);
  }
}

TEST_P(TinyLlama, GreedyGenerationEqualsTransformers) {
  const auto model = model::load_model(golden(GetParam()), at::kFloat);
  const auto file = tensor_io::open_safetensors(golden(GetParam()) / "golden.safetensors");
  const auto prompt = ids_of(file->load("prompt"));
  serving::GenerateOptions options;
  options.max_new_tokens = 12;
  const auto answers = serving::generate(model, {{"", prompt}, {"", {prompt[0]}}}, options);
  EXPECT_EQ(answers[0].checked(), ids_of(file->load("greedy")));
}

INSTANTIATE_TEST_SUITE_P(Models, TinyLlama, testing::Values("llama_untied", "llama_tied"));

class WithAdapters : public testing::Test {
 protected:
  Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  std::shared_ptr<tensor_io::TensorSource> ids_ =
      tensor_io::open_safetensors(golden("llama_untied/golden.safetensors"));

  std::shared_ptr<adapter::Bank> bank(const std::string& folder, const std::vector<std::string>& names) {
    auto out = std::make_shared<adapter::Bank>(model_);
    for (const auto& name : names) out->add(name, adapter::read_peft(golden(folder) / name));
    return out;
  }

  void expect(const routing::Router& router, const std::string& file, const std::string& prefix) {
    const auto expected = tensor_io::open_safetensors(golden(file));
    for (int n = 0; n < 3; ++n) {
      const auto number = std::to_string(n);
      const auto got = logits_of(model_, ids_of(ids_->load("ids." + number)), &router);
      EXPECT_LT(distance(got, expected->load(prefix + ".logits." + number)), kForward) << prefix << " row " << n;
    }
  }
};

TEST_F(WithAdapters, EachAdapterEqualsPeft) {
  const auto all = bank("adapters", {"a", "b", "c"});
  for (std::int64_t e = 0; e < 3; ++e) {
    expect(routing::ConstantRouter(all, {{e, 1.0f}}), "adapters/golden.safetensors",
           all->names()[static_cast<std::size_t>(e)]);
  }
}

TEST_F(WithAdapters, AUniformMixOfOutputsEqualsPeftsCat) {
  const float third = 1.0f / 3.0f;
  expect(routing::ConstantRouter(bank("adapters", {"a", "b", "c"}), {{0, third}, {1, third}, {2, third}}),
         "adapters/golden.safetensors", "mix");
}

TEST_F(WithAdapters, PrototypesAreTheFirstRightSingularVectors) {
  const auto all = bank("arrow", {"e0", "e1", "e2"});
  const auto expected = tensor_io::open_safetensors(golden("arrow/golden.safetensors"));
  SilentProgress silent;
  const auto got = routing::compute_directions(*all, {}, silent);
  for (std::size_t s = 0; s < got.sites(); ++s) {
    const auto exact = expected->load("prototypes." + model_.sites()[s].name);
    const auto cosine = (got.site(static_cast<std::int64_t>(s)) * exact).sum(1).abs();
    EXPECT_GT(cosine.min().item<double>(), 1 - 1e-5) << model_.sites()[s].name;
  }
}

TEST_F(WithAdapters, ArrowEqualsPeft) {
  const auto all = bank("arrow", {"e0", "e1", "e2"});
  SilentProgress silent;
  const auto scores = std::make_shared<routing::DirectionScores>(routing::compute_directions(*all, {}, silent), 3,
                                                                 routing::DirectionScoreOptions{});
  expect(routing::TokenRouter(all, scores, {2}), "arrow/golden.safetensors", "arrow");
}

TEST_F(WithAdapters, GeneralKnowledgeSubtractionByFactorsEqualsPeft) {
  using Convention = routing::GeneralKnowledge::Convention;
  for (const std::string name : {"e0", "e1"}) {
    const auto less =
        routing::without_general_knowledge(*bank("arrow", {name, "e2"}), 1, {.convention = Convention::factors});
    expect(routing::ConstantRouter(less, {{0, 1.0f}}), "arrow/gks.safetensors", name);
  }
}

TEST_F(WithAdapters, XLoraEqualsPeft) {
  const auto all = bank("arrow", {"e0", "e1", "e2"});
  const auto file = tensor_io::open_safetensors(golden("xlora/golden.safetensors"));
  for (const std::string name : {"linear", "top", "shared"}) {
    routing::XLoraNetwork network;
    for (int n = 0; n < (name == "top" ? 2 : 1); ++n) {
      network.weights.push_back(file->load(fmt::format("{}.layers.{}.weight", name, n)));
      network.biases.push_back(file->load(fmt::format("{}.layers.{}.bias", name, n)));
    }
    network.per_site = name != "shared";
    network.temperature = name == "linear" ? 0.7 : 1.0;
    network.top_k = name == "top" ? 2 : 0;
    expect(routing::XLoraRouter(all, model_, network), "xlora/golden.safetensors", name);
  }
}

TEST_F(WithAdapters, WhatQuiverWritesItReadsBackTheSame) {
  const auto folder = fs::temp_directory_path() / "quiver_peft_round_trip";
  for (const auto* name : {"a", "b", "c"}) {
    const auto adapter = adapter::read_peft(golden("adapters") / name);
    fs::create_directories(folder);
    adapter::write_peft(folder, adapter, "base");
    EXPECT_EQ(adapter::identity(adapter::read_peft(folder)), adapter::identity(adapter)) << name;
  }
  fs::remove_all(folder);
}

class Training : public testing::Test {
 protected:
  Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  std::shared_ptr<tensor_io::TensorSource> file_ = tensor_io::open_safetensors(golden("training/golden.safetensors"));

  adapter::Adapter saved(const std::string& prefix) {
    adapter::Adapter out;
    for (const auto& site : model_.sites()) {
      out.sites[site.name] = {file_->load(prefix + site.name + ".lora_A"), file_->load(prefix + site.name + ".lora_B"),
                              2.0};
    }
    return out;
  }

  training::ExpertData data() {
    training::ExpertData out{"golden", {}, {}, {}};
    const auto begins = ids_of(file_->load("target_begin"));
    for (std::size_t n = 0; n < begins.size(); ++n) {
      out.train.push_back({ids_of(file_->load("ids." + std::to_string(n))), begins[n], 1.0, 0});
    }
    return out;
  }
};

TEST_F(Training, GradientsAndTenStepsEqualPeft) {
  training::TrainOptions options;
  options.learning_rate = 1e-2;
  options.weight_decay = 0.01;
  options.clip = 1.0;
  training::ExpertObjective objective(model_, options);
  objective.add(data(), saved("start."));
  auto& group = objective.lanes()[0].groups[0];
  ops::AdamW optimizer(group.values);
  std::vector<training::WeightedRow> rows;
  double targets = 0;
  for (const auto& row : objective.data(0).train) targets += static_cast<double>(training::target_tokens(row));
  for (const auto& row : objective.data(0).train) rows.push_back({&row, 1.0 / targets});

  const auto losses = file_->load("loss").to(at::kDouble);
  const auto norms = file_->load("grad_norm").to(at::kDouble);
  for (std::int64_t step = 0; step < 10; ++step) {
    group.gradient.zero_();
    const auto pass = model::answer_pass(model_, training::answer_rows(rows), objective.bind(rows));
    const auto loss = training::weighted_loss(model_, pass.hidden, rows);
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), losses[step].item<double>(), 1e-4 * losses[step].item<double>());
    if (step == 0) {
      for (const auto& [site, f] : objective.adapter(0).sites) {
        EXPECT_LT(distance(f.a.grad(), file_->load("grad." + site + ".lora_A")), 1e-4) << site;
        EXPECT_LT(distance(f.b.grad(), file_->load("grad." + site + ".lora_B")), 1e-4) << site;
      }
    }
    const double norm = ops::clip_norm(group.gradient, options.clip);
    optimizer.step(group.values, group.gradient, options.learning_rate, step, {.weight_decay = options.weight_decay});
    EXPECT_NEAR(norm, norms[step].item<double>(), 1e-3 * norms[step].item<double>());
  }
  for (const auto& [site, f] : objective.adapter(0).sites) {
    EXPECT_LT(distance(f.a.detach(), file_->load("end." + site + ".lora_A")), 1e-3) << site;
    EXPECT_LT(distance(f.b.detach(), file_->load("end." + site + ".lora_B")), 1e-3) << site;
  }
}

}  // namespace
}  // namespace quiver
