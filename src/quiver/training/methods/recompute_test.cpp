// SPDX-License-Identifier: Apache-2.0
// Recomputation and everything that trains: the weights after a few steps are those without it, or it is refused.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/routing/prompts/pemt.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/flat.h"
#include "quiver/training/loop.h"
#include "quiver/training/methods/adamix.h"
#include "quiver/training/methods/fusion_training.h"
#include "quiver/training/methods/moa_training.h"
#include "quiver/training/methods/pemt_training.h"
#include "quiver/training/methods/prompt_training.h"
#include "quiver/training/methods/router_training.h"
#include "quiver/training/methods/skill_training.h"

namespace quiver::training {
namespace {

class Recompute : public testing::Test {
 protected:
  Recompute() {
    options_.batch_rows = 3;
    options_.epochs = 2;
    options_.learning_rate = 0.02;
    options_.warmup = 0.0;
    for (std::int32_t n = 0; n < 6; ++n) rows_.push_back({{{10 + n, 20, 30, 5 + n % 2, 40 + n}, 3, 1.0, 0}, n % 2});
  }

  RoutedTraining training() { return {model_, options_, progress_, "test"}; }

  std::shared_ptr<adapter::Bank> bank(const std::string& kind) const {
    at::manual_seed(5);
    auto out = std::make_shared<adapter::Bank>(model_);
    for (std::uint64_t e = 0; e < 2; ++e) {
      auto own = adapter::make_adapter(model_, {.rank = 2}, of(kind), e);
      adapter::for_each_tensor(own, [](at::Tensor& t) { t = t + at::randn(t.sizes()) * 0.1; });
      out->add("e" + std::to_string(e), own);
    }
    return out;
  }
  static adapter::KindOptions of(const std::string& kind) {
    adapter::KindOptions out;
    out.kinds = {kind};
    out.width = 4;
    out.prompt_tokens = 2;
    out.of<adapter::TaskPromptOptions>().tasks = 2;
    adapter::set_option(out, "products", "2");
    return out;
  }

  /// Trains twice, with and without; `train` returns all that was trained as one vector.
  template <typename Train>
  void equal(const std::string& what, Train train) {
    options_.recompute = false;
    const at::Tensor kept = train();
    options_.recompute = true;
    const at::Tensor again = train();
    // The same products in another order of accumulation: float32 over some hundred terms, in six steps of Adam.
    EXPECT_LT((kept - again).abs().max().item<double>(), 1e-4) << what;
    options_.recompute = false;
  }
  template <typename Train>
  void refused(const std::string& what, Train train) {
    options_.recompute = true;
    try {
      train();
      FAIL() << what << " took --recompute";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("--recompute"), std::string::npos) << error.what();
    }
    options_.recompute = false;
  }

  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  TrainOptions options_;
  SilentProgress progress_;
  std::vector<RoutedRow> rows_;
};

TEST_F(Recompute, ExpertsOfEveryKind) {
  std::vector<adapter::KindOptions> all;
  for (const auto& kind : adapter::kind_help()) all.push_back(of(kind.name));
  all.push_back(of("prefix"));
  adapter::set_option(all.back(), "prefix_hidden", "4");
  for (const auto& kind : all) {
    equal(adapter::to_json(kind).dump(), [&] {
      ExpertObjective objective(model_, options_);
      ExpertData data{"e", {}, {}, {}};
      for (const auto& row : rows_) data.train.push_back(row.row);
      objective.add(std::move(data), adapter::make_adapter(model_, {.rank = 2, .dropout = 0.0}, kind, 3));
      Loop(objective, options_, progress_, "test").run();
      return flattened(objective.result(0));
    });
  }
}

TEST_F(Recompute, SkillsPromptsAndCopies) {
  equal("poly", [&] {
    routing::SkillOptions skills;
    skills.skills = 2;
    auto set = routing::make_skills(model_, {.rank = 2}, skills, {"a", "b"}, 1);
    SkillTraining how;
    how.skill_learning_rate = 1e-2;
    train_skills(training(), set, how, rows_, {});
    return at::cat({set.logits.reshape({-1}), set.factors.reshape({-1})});
  });
  equal("attempt", [&] {
    auto attempt = start_attempt(*bank("prompt"), {.width = 3}, 1);
    train_attempt(training(), attempt, {.width = 3}, rows_, {});
    return at::cat({attempt.prompt.reshape({-1}), attempt.down.reshape({-1}), attempt.up.reshape({-1})});
  });
  equal("mpt", [&] {
    auto prompts = adapter::make_adapter(model_, {}, of("mpt"), 3);
    train_task_prompts(training(), prompts, rows_, {});
    return flattened(prompts);
  });
  equal("adamix", [&] {
    const auto start = [&](std::int64_t copy) {
      return adapter::make_adapter(model_, {.rank = 2}, {}, static_cast<std::uint64_t>(copy));
    };
    Figures figures;
    return flattened(train_adamix(training(), {.copies = 2}, start, rows_, {}, figures));
  });
}

TEST_F(Recompute, Routers) {
  equal("fusion", [&] {
    const auto sources = bank("bottleneck");
    auto fusion = start_fusion(model_, *sources, {}, 3);
    train_fusion(training(), sources, fusion, {}, rows_, {});
    std::vector<at::Tensor> parts;
    for (const auto& [number, site] : fusion.sites) parts.push_back(site.query.reshape({-1}));
    return at::cat(parts);
  });
  using Kind = RouterOptions::Kind;
  for (const auto kind : {Kind::gates, Kind::weights, Kind::xlora}) {
    RouterOptions how;
    how.kind = kind;
    equal("router " + std::to_string(static_cast<int>(kind)), [&] {
      const auto saved = train_router(training(), bank("lora"), how, "r", rows_, {});
      std::vector<at::Tensor> parts;
      for (const auto& [name, tensor] : saved.tensors) parts.push_back(tensor.reshape({-1}));
      return at::cat(parts);
    });
  }
  RouterOptions balanced;
  balanced.balance = 0.1;
  refused("gates with a balance", [&] { train_router(training(), bank("lora"), balanced, "r", rows_, {}); });
}

TEST_F(Recompute, PemtWithoutASparsityAndNoMoa) {
  PemtTraining how;
  how.width = 3;
  how.prompt_tokens = 2;
  const auto train = [&] {
    auto pemt = start_pemt(model_, *bank("lora"), how, 1);
    train_pemt(training(), pemt, how, rows_, {});
    return pemt.prompt.reshape({-1});
  };
  refused("pemt with a sparsity", train);
  how.sparsity_weight = 0;
  equal("pemt", train);
  refused("moa", [&] {
    std::vector<adapter::Adapter> experts;
    for (std::uint64_t e = 0; e < 2; ++e) experts.push_back(adapter::make_adapter(model_, {.rank = 2}, {}, e));
    routing::Classifiers classifiers;
    train_moa(training(), experts, classifiers, {}, rows_, {});
  });
}

}  // namespace
}  // namespace quiver::training
