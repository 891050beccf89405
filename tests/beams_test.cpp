// SPDX-License-Identifier: Apache-2.0
// Beams under every router: what a search claims is what a whole pass over prompt and answer gives.
#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "quiver/adapter/kinds.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/progress.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/learned/weight_router.h"
#include "quiver/routing/learned/xlora_router.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/routing/request/moa_router.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/token_router.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/methods/pemt_training.h"

namespace quiver {
namespace {

// Sums of at most ten log-probabilities, each from float32 logits whose sums run in another order.
constexpr double kNear = 2e-4;

class BeamsUnder : public testing::TestWithParam<const char*> {
 protected:
  BeamsUnder() {
    at::manual_seed(5);
    for (std::uint64_t e = 0; e < 3; ++e) {
      adapter::LoraOptions lora;
      lora.rank = 2 + static_cast<std::int64_t>(e);
      auto own = adapter::make_lora(model_, lora, e);
      for (auto& [site, f] : own.sites) f.b = 0.4 * at::randn_like(f.b);
      bank_->add("e" + std::to_string(e), own);
    }
  }

  std::int64_t sites() const { return static_cast<std::int64_t>(model_.sites().size()); }

  /// By what they are called in messages.
  std::map<std::string, std::shared_ptr<const routing::Router>> routers() const {
    std::map<std::string, std::shared_ptr<const routing::Router>> out;
    out["one expert"] = constant(bank_, {{1, 1.0f}});
    out["a mixture"] = constant(bank_, {{0, 0.5f}, {2, 0.3f}});
    SilentProgress silent;
    const auto directions = std::make_shared<routing::DirectionScores>(routing::compute_directions(*bank_, {}, silent),
                                                                       bank_->size(), routing::DirectionScoreOptions{});
    out["by token"] = std::make_shared<routing::TokenRouter>(bank_, directions, routing::TokenMixOptions{.top_k = 2});
    out["by place"] = std::make_shared<routing::WeightRouter>(
        bank_, routing::PlaceWeights{routing::Granularity::site, true, at::randn({sites(), 3})}, ops::Combine::outputs);
    out["x-lora"] = std::make_shared<routing::XLoraRouter>(
        bank_, model_,
        routing::XLoraNetwork{.weights = {at::randn({sites() * 3, model_.config().hidden})},
                              .biases = {at::zeros({sites() * 3})}});
    out["moa"] = std::make_shared<routing::MoaRouter>(bank_, model_, routing::MoaShape{}, classifiers(),
                                                      routing::MoaOptions{.vote = routing::Vote::own});
    out["attempt"] = std::make_shared<routing::AttemptRouter>(model_, attempt());
    out["pemt"] = std::make_shared<routing::PemtRouter>(model_, pemt());
    for (const auto* kind : {"prompt", "prefix"}) out[kind] = with(kind);
    return out;
  }

  static std::shared_ptr<const routing::Router> constant(std::shared_ptr<const adapter::Bank> bank,
                                                         std::vector<ops::ExpertWeight> pairs) {
    return std::make_shared<routing::ConstantRouter>(std::move(bank), std::move(pairs));
  }

  std::shared_ptr<const routing::Router> with(const std::string& kind) const {
    adapter::KindOptions options;
    options.kinds = {kind};
    options.prompt_tokens = 3;
    auto own = adapter::make_adapter(model_, {}, options, 1);
    adapter::for_each_tensor(own, [](at::Tensor& t) { t = at::randn_like(t); });
    auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add("vectors", own);
    return constant(bank, {{0, 1.0f}});
  }

  routing::Classifiers classifiers() const {
    routing::Classifiers out;
    const auto width = model_.config().hidden;
    for (std::int64_t layer = 0; layer < model_.config().prompt_layers(); ++layer)
      out[layer] = {at::zeros({width}), at::ones({width}), {at::randn({3, width})}, {at::zeros({3})}};
    return out;
  }

  routing::Attempt attempt() const {
    const auto width = model_.config().hidden;
    return {at::randn({2, 3, width}), at::randn({3, width}), at::randn({4, width}),     at::randn({width, 4}),
            at::ones({width}),        at::zeros({width}),    static_cast<double>(width)};
  }

  routing::Pemt pemt() const {
    training::PemtTraining how;
    how.width = 3;
    how.prompt_tokens = 4;
    auto out = training::start_pemt(model_, *bank_, how, 1);
    for (auto& [site, gate] : out.gates) gate = at::randn_like(gate);
    return out;
  }

  /// Summed log-probabilities of the answer by one pass, and how many tokens it has.
  double whole(const routing::Router& router, const Ids& prompt, const Ids& answer) const {
    const auto pass = model::answer_pass(model_, {{prompt, answer}}, routing::bind_requests(router, {{"", prompt}}));
    const auto values = at::log_softmax(model_.logits(pass.hidden).to(at::kDouble), 1);
    double sum = 0.0;
    for (std::size_t t = 0; t < answer.size(); ++t)
      sum += values[static_cast<std::int64_t>(t)][answer[t]].item<double>();
    return sum;
  }

  c10::AutoGradMode no_gradient_{false};
  model::Model model_ = model::load_model(golden(GetParam()), at::kFloat);
  std::shared_ptr<adapter::Bank> bank_ = std::make_shared<adapter::Bank>(model_);
};

TEST_P(BeamsUnder, EachRouterScoresAsAWholePassDoes) {
  const std::vector<Ids> prompts{{5, 9, 20, 11, 40}, {12, 3}};
  for (const auto& [name, router] : routers()) {
    const auto greedy =
        serving::generate(model_, {{"", prompts[0]}, {"", prompts[1]}}, {.max_new_tokens = 5}, router.get());
    for (const std::int64_t beams : {1, 4}) {
      serving::GenerateOptions options;
      options.max_new_tokens = 6;
      options.beams = beams;
      options.length_penalty = 0.8;
      // A token that the first greedy answer meets, so that some beams end before the others.
      options.stop_tokens = {greedy[0].checked().back()};
      const auto answers = serving::generate(model_, {{"", prompts[0]}, {"", prompts[1]}}, options, router.get());
      for (std::size_t n = 0; n < prompts.size(); ++n) {
        answers[n].checked();
        ASSERT_EQ(static_cast<std::int64_t>(answers[n].beams.size()), beams) << name;
        for (const auto& beam : answers[n].beams) {
          auto ids = beam.ids;
          if (ids.size() < 6) ids.push_back(options.stop_tokens[0]);
          const auto score = whole(*router, prompts[n], ids) / std::pow(static_cast<double>(ids.size()), 0.8);
          EXPECT_NEAR(beam.score, score, kNear) << name << ", " << beams << " beams, prompt " << n;
        }
      }
    }
  }
}

/// Beams of one request beside those of others, in portions: the same as alone.
TEST_P(BeamsUnder, SearchesSideBySideAreThoseAlone) {
  const auto all = routers();
  const auto& router = *all.at("x-lora");
  std::vector<routing::Request> requests;
  for (int n = 0; n < 4; ++n) {
    routing::Request request;
    for (int t = 0; t <= 3 * n; ++t) request.prompt.push_back((11 * n + 7 * t) % 70 + 2);
    requests.push_back(request);
  }
  serving::GenerateOptions options;
  options.max_new_tokens = 5;
  options.beams = 3;
  const auto together =
      serving::generate(model_, requests, options, &router, nullptr, {.open_rows = 7, .pass_tokens = 6});
  for (std::size_t n = 0; n < requests.size(); ++n) {
    const auto alone = serving::generate(model_, {requests[n]}, options, &router);
    EXPECT_EQ(together[n].checked(), alone[0].checked()) << n;
    EXPECT_NEAR(together[n].beams[0].score, alone[0].beams[0].score, kNear) << n;
  }
}

/// Every router, every kind of expert and the base model in the passes of one engine: each as it is alone.
TEST_P(BeamsUnder, RoutesSideBySideAreThoseAlone) {
  auto all = routers();
  for (const auto* kind : {"ia3", "bitfit", "norms", "bottleneck", "parallel", "dora"}) all[kind] = with(kind);
  all["base"] = nullptr;
  serving::Engine engine(model_, {.open_rows = 64, .pass_tokens = 40});
  std::map<std::string, std::pair<serving::Engine::Id, serving::GenerateRequest>> submitted;
  for (const auto& [name, router] : all) {
    serving::GenerateRequest request{{5, 9, 20, 11, 40}, "", router, {}, 0};
    request.options.max_new_tokens = 5;
    if (name == "x-lora" || name == "prefix") request.options.beams = 2;
    submitted[name] = {engine.submit(request), request};
  }
  while (!engine.idle()) engine.step();
  std::map<std::string, Ids> answers;
  for (const auto& [name, of] : submitted) {
    serving::Engine single(model_);
    const auto id = single.submit(of.second);
    while (!single.idle()) single.step();
    answers[name] = single.take(id).checked();
    EXPECT_EQ(engine.take(of.first).checked(), answers[name]) << name;
    if (name != "base") EXPECT_NE(answers[name], answers["base"]) << name << " changes nothing";
  }
}

/// The penalty falls on the log-probabilities of what stands in the prompt or in the beam.
TEST_P(BeamsUnder, ThePenaltyIsSummedWithThem) {
  const Ids prompt{5, 9, 20, 11, 40};
  const auto router = constant(bank_, {{0, 1.0f}});
  serving::GenerateOptions options;
  options.max_new_tokens = 7;
  options.beams = 3;
  options.sampling.repetition_penalty = 1.7;
  const auto answers = serving::generate(model_, {{"", prompt}}, options, router.get());
  ASSERT_EQ(answers[0].checked().size(), 7u);
  const bool two_stacks = model_.config().encoder_decoder();
  for (const auto& beam : answers[0].beams) {
    const auto pass = model::answer_pass(model_, {{prompt, beam.ids}}, routing::bind_requests(*router, {{"", prompt}}));
    const auto values = at::log_softmax(model_.logits(pass.hidden).to(at::kDouble), 1);
    auto seen = two_stacks ? Ids{model_.config().answer_start} : prompt;
    double sum = 0.0;
    for (std::size_t t = 0; t < beam.ids.size(); ++t) {
      const auto own = values[static_cast<std::int64_t>(t)][beam.ids[t]].item<double>();
      sum += std::find(seen.begin(), seen.end(), beam.ids[t]) != seen.end() ? 1.7 * own : own;
      seen.push_back(beam.ids[t]);
    }
    EXPECT_NEAR(beam.score, sum / 7, kNear);
  }
  options.sampling.repetition_penalty = 1.0;
  EXPECT_NE(serving::generate(model_, {{"", prompt}}, options, router.get())[0].ids, answers[0].ids)
      << "or the penalty could not be told";
}

INSTANTIATE_TEST_SUITE_P(Models, BeamsUnder, testing::Values("llama_untied", "t5/v10"),
                         [](const auto& p) { return std::string(p.param).substr(0, 2); });

}  // namespace
}  // namespace quiver
