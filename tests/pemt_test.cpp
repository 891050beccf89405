// SPDX-License-Identifier: Apache-2.0
// PEMT's second stage against its equations written out in PyTorch (tools/goldens/pemt_golden.py).
#include "quiver/routing/prompts/pemt.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "quiver/adapter/kinds.h"
#include "quiver/base/error.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/methods/pemt_training.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver {
namespace {

struct Setting {
  const char* name;
  routing::PemtOptions options;
  double weight;
};

class TinyPemt : public testing::TestWithParam<Setting> {
 protected:
  TinyPemt() {
    const auto rows = tensor_io::open_safetensors(golden("t5/v10/golden.safetensors"));
    for (std::size_t n = 0; n < 3; ++n) {
      auto& row = rows_[n];
      const auto add = [&](const std::string& name, std::int64_t begin) {
        const auto ids = rows->load(name + "." + std::to_string(n));
        for (std::int64_t i = begin; i < ids.numel(); ++i) row.ids.push_back(ids[i].item<std::int32_t>());
      };
      add("ids", 0);
      row.target_begin = static_cast<std::int32_t>(row.ids.size());
      add("decoder_ids", 1);
      targets_ += static_cast<double>(row.ids.size()) - row.target_begin;
    }
    for (const auto& [name, info] : file_->tensors()) {
      if (name.starts_with("start.")) parameters_[name.substr(6)] = file_->load(name).clone().set_requires_grad(true);
    }
  }

  std::vector<std::int64_t> gated_sites() const {
    std::vector<std::int64_t> out;
    for (std::size_t i = 0; i < model_.sites().size(); ++i) {
      if (model_.sites()[i].name.ends_with(".wo")) out.push_back(static_cast<std::int64_t>(i));
    }
    return out;
  }
  const std::string& site_name(std::int64_t site) const { return model_.sites()[static_cast<std::size_t>(site)].name; }

  routing::Pemt pemt() const {
    routing::Pemt out;
    auto bank = std::make_shared<adapter::Bank>(model_);
    adapter::Adapter target;
    for (int k = 0; k < 3; ++k) {
      const auto prefix = "source." + std::to_string(k) + ".";
      adapter::Adapter source;
      for (const auto site : gated_sites()) {
        const auto name = prefix + site_name(site);
        source.sites[site_name(site)] = {file_->load(name + ".lora_A"), file_->load(name + ".lora_B"), 1.0};
      }
      bank->add("source" + std::to_string(k), source);
      out.source_prompts.push_back(file_->load(prefix + "prompt"));
    }
    for (const auto site : gated_sites()) {
      const auto& name = site_name(site);
      const auto& of = [&](const char* part) { return parameters_.at(name + part); };
      target.extras[name].bottleneck = ops::Bottleneck{of(".down"),       of(".up"), of(".down_bias"),
                                                       of(".up_bias"),    1.0,       ops::Nonlinearity::gelu_tanh,
                                                       ops::Reads::output};
      // The reference's gate reads the prompt by its first D inputs where the gate is by correlation.
      const bool by_prompt = GetParam().options.gate == routing::PemtOptions::Gate::correlation;
      out.gates[site] = by_prompt ? of(".gate").narrow(0, 0, model_.config().hidden) : of(".gate");
    }
    for (const auto& norm : model_.norms()) target.norms[norm.name] = parameters_.at("norm." + norm.name);
    bank->add("target", target);
    out.bank = bank;
    out.prompt = parameters_.at("prompt");
    out.options = GetParam().options;
    return out;
  }

  at::Tensor expected(const std::string& name) const { return file_->load(std::string(GetParam().name) + "." + name); }

  model::Model model_ = model::load_model(golden("t5/v10"), at::kFloat);
  std::shared_ptr<const tensor_io::TensorSource> file_ = tensor_io::open_safetensors(golden("pemt/golden.safetensors"));
  std::map<std::string, at::Tensor> parameters_;
  std::vector<data::TokenRow> rows_ = std::vector<data::TokenRow>(3);
  double targets_ = 0;
};

TEST_P(TinyPemt, LossOutputsGatesAndGradientsEqualTheEquations) {
  std::vector<training::WeightedRow> weighted;
  for (const auto& row : rows_) weighted.push_back({&row, 1.0 / targets_});
  routing::PemtTrace trace;
  const auto bind = routing::bind_pemt(model_, pemt(), rows_.size(), &trace);
  const auto pass = model::answer_pass(model_, training::answer_rows(weighted), bind);
  const auto loss = training::weighted_loss(model_, pass.hidden, weighted);
  EXPECT_NEAR(trace.sparsity.item<double>(), expected("sparsity").item<double>(), 1e-4);
  const auto total = loss + trace.sparsity * GetParam().weight;
  EXPECT_NEAR(total.item<double>(), expected("loss").item<double>(), 1e-4);
  total.backward();

  const auto logits = model_.logits(pass.hidden.detach());
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < 3; ++n) {
    const auto own = expected("logits." + std::to_string(n));
    EXPECT_LT(distance(logits.narrow(0, begin, own.size(0)), own), 2e-5) << n;
    begin += own.size(0);
  }
  for (const auto site : gated_sites())
    EXPECT_LT((trace.gates.at(site) - expected("gate." + site_name(site))).abs().max().item<double>(), 1e-5);
  for (const auto& [name, parameter] : parameters_) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_LT(distance(parameter.grad(), expected("grad." + name)), 1e-4) << name;
  }
}

TEST_P(TinyPemt, GenerationKeepsAPromptsGates) {
  // One token at a time against the whole answer at once.
  const c10::AutoGradMode no_gradient(false);
  const auto own = pemt();
  const std::span<const std::int32_t> ids(rows_[0].ids);
  const auto border = static_cast<std::size_t>(rows_[0].target_begin);
  const auto bind = routing::bind_pemt(model_, own, 1);
  std::vector<model::RowCache> caches(1);
  auto hidden = model::read_prompts(model_, {ids.first(border)}, caches, bind);
  const auto whole = expected("logits.0");
  for (std::int64_t t = 0; t < whole.size(0); ++t) {
    EXPECT_LT(distance(model_.logits(hidden), whole.narrow(0, t, 1)), 2e-5) << t;
    if (t + 1 == whole.size(0)) break;
    const auto batch =
        model::pack({{ids.subspan(border + static_cast<std::size_t>(t), 1), &caches[0], true}}, model::Part::answer);
    hidden = model_.forward(batch, bind(batch, {0}).get());
  }
}

using Gate = routing::PemtOptions::Gate;
INSTANTIATE_TEST_SUITE_P(Settings, TinyPemt,
                         testing::Values(Setting{"plain", {Gate::prompt_mean, 1.0, true, false}, 0.1},
                                         Setting{"correlation", {Gate::correlation, 0.5, true, false}, 0.1},
                                         Setting{"text", {Gate::prompt_mean, 2.0, true, true}, 0.3},
                                         Setting{"alone", {Gate::prompt_mean, 1.0, true, false}, 0.0}),
                         [](const auto& p) { return p.param.name; });

class PemtTrained : public testing::TestWithParam<bool> {
 protected:
  /// Two sources, as LoRA or as bottlenecks beside the second feed-forward map, with prompts.
  adapter::Bank sources() const {
    adapter::Bank bank(model_);
    for (std::uint64_t k = 0; k < 2; ++k) {
      adapter::LoraOptions lora;
      lora.rank = 2;
      lora.targets = {"wo"};
      adapter::KindOptions kinds;
      kinds.kinds = {GetParam() ? "parallel" : "lora", "prompt"};
      kinds.prompt_tokens = 3;
      kinds.width = 4;
      kinds.targets = {"wo"};
      auto own = adapter::make_adapter(model_, lora, kinds, k);
      at::manual_seed(k);
      for (auto& [site, f] : own.sites) f.b = at::randn_like(f.b) * 0.3;
      bank.add("s" + std::to_string(k), own);
    }
    return bank;
  }
  at::Tensor hidden(const routing::Pemt& pemt) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<training::WeightedRow> weighted;
    for (const auto& row : rows_) weighted.push_back({&row.row, 1.0});
    return model::answer_pass(model_, training::answer_rows(weighted), routing::bind_pemt(model_, pemt, rows_.size()))
        .hidden;
  }

  model::Model model_ = model::load_model(golden("t5/v10"), at::kFloat);
  std::vector<training::RoutedRow> rows_{{{{10, 20, 30, 5, 40, 41}, 4, 1.0, 0}, 0},
                                         {{{11, 21, 7, 42, 43}, 3, 1.0, 0}, 0}};
};

TEST_P(PemtTrained, LearnsKeepsItsSourcesAndIsReadAgain) {
  const auto bank = sources();
  training::PemtTraining how;
  how.width = 3;
  how.prompt_tokens = 4;
  auto pemt = training::start_pemt(model_, bank, how, 1);
  EXPECT_EQ(pemt.gates.size(), 4u);  // every block's second feed-forward map
  EXPECT_EQ(pemt.source_prompts.size(), 2u);
  training::TrainOptions options;
  options.epochs = options.max_steps = 80;
  options.learning_rate = 5e-2;
  SilentProgress progress;
  const training::RoutedTraining run{model_, options, progress, "test"};
  const auto result = training::train_pemt(run, pemt, how, rows_, rows_);
  EXPECT_LT(result.validation_loss, 0.5 * result.first_validation);
  const auto site = pemt.gates.begin()->first;
  for (std::size_t k = 0; k < 2; ++k) {
    const auto& now = pemt.bank->site(site);
    const auto& before = bank.site(site);
    if (GetParam()) {
      EXPECT_TRUE(at::equal(now.extras[k].bottleneck->down, before.extras[k].bottleneck->down));
    } else {
      EXPECT_TRUE(at::equal(now.experts[k].b, before.experts[k].b));
    }
  }
  EXPECT_GT(pemt.gates.begin()->second.abs().max().item<double>(), 1e-3);

  const auto means = training::mean_gates(model_, pemt, rows_);
  EXPECT_EQ(means.size(), 4u);
  for (const auto& [gated, weights] : means) EXPECT_NEAR(weights.sum().item<double>(), 1.0, 1e-5) << gated;

  const auto saved = routing::save_pemt("target", model_, pemt);
  EXPECT_TRUE(saved.tensors.contains("encoder.block.0.layer.1.DenseReluDense.wo.gate"));
  EXPECT_TRUE(saved.tensors.contains("decoder.block.1.layer.2.DenseReluDense.wo.adapter.down.weight"));
  EXPECT_LT(distance(hidden(routing::read_pemt(saved, model_)), hidden(pemt)), 1e-6);
  auto damaged = saved;
  damaged.tensors.erase("prompt_embeddings");
  EXPECT_THROW(routing::read_pemt(damaged, model_), Error);
  damaged = saved;
  damaged.options["scales"] = nlohmann::json::array();
  EXPECT_THROW(routing::read_pemt(damaged, model_), Error);
}

INSTANTIATE_TEST_SUITE_P(Sources, PemtTrained, testing::Bool(),
                         [](const auto& p) { return p.param ? "bottlenecks" : "factors"; });

/// What a site reads, on its way through.
class Watching : public model::PassingOn {
 public:
  Watching(model::ExpertSource* source, std::map<std::int64_t, at::Tensor>& seen) : PassingOn(source), seen_(seen) {}
  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    for (const auto& site : sites) seen_[site.site] = x;
    return PassingOn::at(sites, x);
  }

 private:
  std::map<std::int64_t, at::Tensor>& seen_;
};

class PemtWithoutEncoder : public testing::Test {
 protected:
  PemtWithoutEncoder() {
    auto sources = adapter::Bank(model_);
    for (std::uint64_t k = 0; k < 2; ++k) {
      adapter::KindOptions kinds;
      kinds.kinds = {"lora", "prompt"};
      kinds.prompt_tokens = 3;
      auto own = adapter::make_adapter(model_, {.rank = 2, .targets = {"down_proj"}}, kinds, k);
      at::manual_seed(k);
      for (auto& [site, f] : own.sites) f.b = at::randn_like(f.b) * 0.3;
      sources.add("s" + std::to_string(k), own);
    }
    how_.width = 3;
    how_.prompt_tokens = 4;
    pemt_ = training::start_pemt(model_, sources, how_, 1);
    for (auto& [site, gate] : pemt_.gates) gate = at::randn_like(gate);
  }
  at::Tensor hidden(const model::BindExperts& bind) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<training::WeightedRow> weighted;
    for (const auto& row : rows_) weighted.push_back({&row.row, 1.0});
    return model::answer_pass(model_, training::answer_rows(weighted), bind).hidden;
  }

  model::Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  std::vector<training::RoutedRow> rows_{{{{10, 20, 30, 5, 40, 41}, 4, 1.0, 0}, 0},
                                         {{{11, 21, 7, 42, 43}, 3, 1.0, 0}, 0}};
  training::PemtTraining how_;
  routing::Pemt pemt_;
};

TEST_F(PemtWithoutEncoder, GatesComeOfWhatTheSiteReadsAtThePrompt) {
  const c10::AutoGradMode no_gradient(false);
  routing::PemtTrace trace;
  const auto bind = routing::bind_pemt(model_, pemt_, 1, &trace);
  const std::vector<std::int32_t> ids{5, 9};
  const auto batch = model::pack({{ids, nullptr, true, bind.soft_prompt(0)}});
  const auto source = bind(batch, {0});
  std::map<std::int64_t, at::Tensor> seen;
  Watching watching(source.get(), seen);
  model_.forward(batch, &watching);
  ASSERT_EQ(trace.gates.size(), 2u);
  for (const auto& [site, gates] : trace.gates) {
    const auto mean = seen.at(site).narrow(0, 0, 4).mean(0);
    EXPECT_LT((gates[0] - mean.matmul(pemt_.gates.at(site)).softmax(0)).abs().max().item<double>(), 1e-6);
    EXPECT_GT((gates[0] - 0.5).abs().max().item<double>(), 1e-3);  // not the start's
  }
}

/// Its mixes number the sources and the target, whatever library it is used beside.
TEST_F(PemtWithoutEncoder, NamesItsOwnExperts) {
  EXPECT_EQ(routing::PemtRouter(model_, pemt_).own_experts(), (std::vector<std::string>{"s0", "s1", "target"}));
}

TEST_F(PemtWithoutEncoder, FoldedItIsOneAdapterThatDoesTheSame) {
  auto bank = std::make_shared<adapter::Bank>(model_);
  bank->add("folded", routing::folded(model_, pemt_));
  const auto one = training::bind_training_rows(bank, std::vector<training::TrainingRow>(rows_.size()), 0.0);
  EXPECT_LT(distance(hidden(one), hidden(routing::bind_pemt(model_, pemt_, rows_.size()))), 1e-5);
  EXPECT_THROW(routing::folded(model::load_model(golden("t5/v10"), at::kFloat), pemt_), Error);
}

TEST_F(PemtWithoutEncoder, AnswersGoOnFromTheirPromptsGates) {
  const c10::AutoGradMode no_gradient(false);
  serving::GenerateOptions options;
  options.max_new_tokens = 5;
  const std::vector<std::vector<std::int32_t>> prompts{{10, 20, 30, 5}, {11, 21}};
  const routing::PemtRouter router(model_, pemt_);
  const auto answers = serving::generate(model_, {{"", prompts[0]}, {"", prompts[1]}}, options, &router);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    auto ids = prompts[i];
    for (const auto expected : answers[i].checked()) {
      const auto bind = routing::bind_pemt(model_, pemt_, 1);
      const auto batch = model::pack({{ids, nullptr, true, bind.soft_prompt(0)}});
      const auto states = model_.forward(batch, bind(batch, {0}).get());
      const auto next = model_.logits(states.narrow(0, states.size(0) - 1, 1)).argmax().item<std::int32_t>();
      EXPECT_EQ(next, expected);
      ids.push_back(next);
    }
  }
}

TEST_F(PemtWithoutEncoder, Learns) {
  training::TrainOptions options;
  options.epochs = options.max_steps = 60;
  options.learning_rate = 2e-2;
  SilentProgress progress;
  const auto before = pemt_.gates.begin()->second.clone();
  const auto result = training::train_pemt({model_, options, progress, "test"}, pemt_, how_, rows_, rows_);
  EXPECT_LT(result.validation_loss, 0.7 * result.first_validation);
  EXPECT_FALSE(at::equal(pemt_.gates.begin()->second, before));
}

}  // namespace
}  // namespace quiver
