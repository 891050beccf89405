// SPDX-License-Identifier: Apache-2.0
// Encoder-decoders against transformers and PEFT: numbers that tools/goldens/t5_golden.py wrote.
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "quiver/adapter/bank.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/evaluation/candidates.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/routing/constant_router.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/row_loss.h"

namespace quiver {
namespace {

// float32 sums over at most 150 terms in another order than torch's: a few parts in a million of the spread.
constexpr double kForward = 2e-5;

std::vector<serving::Beam> beams_of(const model::Model& model, const Ids& prompt,
                                    const serving::GenerateOptions& options) {
  const auto answers = serving::generate(model, {{"", prompt}}, options);
  answers[0].checked();
  return answers[0].beams;
}

/// One of the golden models with the rows that its numbers belong to.
class TinyT5 : public testing::TestWithParam<const char*> {
 protected:
  TinyT5() : folder_(golden(std::string("t5/") + GetParam())), model_(model::load_model(folder_, at::kFloat)) {
    file_ = tensor_io::open_safetensors(folder_ / "golden.safetensors");
    for (int n = 0; n < 3; ++n) {
      prompts_.push_back(ids_of(file_->load("ids." + std::to_string(n))));
      answers_.push_back(ids_of(file_->load("decoder_ids." + std::to_string(n))));
    }
    end_ = static_cast<std::int32_t>(file_->load("end").item<std::int64_t>());
  }

  at::Tensor expected(const std::string& name, std::size_t n) const {
    return file_->load(name + "." + std::to_string(n));
  }

  /// Logits of the rows' answers, all in one batch in the order given.
  std::vector<at::Tensor> logits(const std::vector<std::size_t>& order, const model::BindExperts& bind) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<model::RowCache> caches(order.size());
    std::vector<model::RowInput> prompts, answers;
    for (std::size_t i = 0; i < order.size(); ++i) {
      prompts.push_back({prompts_[order[i]], &caches[i], true});
      answers.push_back({answers_[order[i]], &caches[i], false});
    }
    const auto read = model::pack(prompts);
    auto experts = bind ? bind(read, order) : nullptr;
    model_.forward(read, experts.get());
    const auto written = model::pack(answers, model::Part::answer);
    experts = bind ? bind(written, order) : nullptr;
    const auto all = model_.logits(model_.forward(written, experts.get()));
    std::vector<at::Tensor> out;
    for (const auto& row : written.rows) out.push_back(all.narrow(0, row.begin, row.count));
    return out;
  }

  std::shared_ptr<adapter::Bank> bank_of(const adapter::Adapter& adapter) const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add("own", adapter);
    return bank;
  }

  fs::path folder_;
  model::Model model_;
  std::shared_ptr<const tensor_io::TensorSource> file_;
  std::vector<Ids> prompts_, answers_;
  std::int32_t end_ = 0;
};

TEST_P(TinyT5, LogitsEqualTransformers) {
  for (std::size_t n = 0; n < 3; ++n)
    EXPECT_LT(distance(logits({n}, nullptr)[0], expected("logits", n)), kForward) << n;
}

TEST_P(TinyT5, RowsOfABatchDoNotDependOnTheirNeighbours) {
  const std::vector<std::size_t> order{2, 0, 1};
  const auto all = logits(order, nullptr);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LT(distance(all[i], expected("logits", order[i])), kForward);
}

TEST_P(TinyT5, AnAnswerInPortionsEqualsTheWhole) {
  const c10::AutoGradMode no_gradient(false);
  model::RowCache cache;
  model_.forward(model::pack({{prompts_[0], &cache, true}}), nullptr);
  const auto answer = std::span(std::as_const(answers_[0]));
  const auto whole = expected("logits", 0);
  const auto first = model::pack({{answer.first(2), &cache, true}}, model::Part::answer);
  EXPECT_LT(distance(model_.logits(model_.forward(first, nullptr)), whole.narrow(0, 0, 2)), kForward);
  // A branch leaves the cache as it is; so the same tokens may be fed again.
  for (const bool keep : {false, true}) {
    const auto rest = model::pack({{answer.subspan(2), &cache, keep}}, model::Part::answer);
    EXPECT_LT(distance(model_.logits(model_.forward(rest, nullptr)), whole.narrow(0, 2, whole.size(0) - 2)), kForward);
  }
  EXPECT_EQ(cache.length(), static_cast<std::int64_t>(answer.size()));
}

TEST_P(TinyT5, GreedyAnswersEqualTransformers) {
  serving::GenerateOptions options;
  options.max_new_tokens = 12;
  options.stop_tokens = {end_};
  std::vector<routing::Request> requests;
  for (const auto& prompt : prompts_) requests.push_back({"", prompt});
  for (const auto& engine : {serving::EngineOptions{}, serving::EngineOptions{.open_rows = 2, .pass_tokens = 5}}) {
    const auto answers = serving::generate(model_, requests, options, nullptr, nullptr, engine);
    for (std::size_t n = 0; n < 3; ++n) EXPECT_EQ(answers[n].checked(), ids_of(expected("greedy", n))) << n;
  }
}

TEST_P(TinyT5, BeamsEqualTransformers) {
  serving::GenerateOptions options;
  options.beams = 4;
  options.max_new_tokens = 10;
  options.stop_tokens = {end_};
  const auto scores = file_->load("beam.score");
  for (std::size_t n = 0; n < 3; ++n) {
    const auto beams = beams_of(model_, prompts_[n], options);
    ASSERT_EQ(beams.size(), 4u);
    EXPECT_EQ(beams[0].ids, ids_of(expected("beam", n))) << n;
    EXPECT_NEAR(beams[0].score, scores[static_cast<std::int64_t>(n)].item<double>(), 1e-4) << n;
  }
}

TEST_P(TinyT5, AdapterEqualsPeftWithItsGradients) {
  auto adapter = adapter::read_peft(folder_ / "adapter");
  EXPECT_EQ(adapter.sites.size(), model_.sites().size());
  for (auto& [site, f] : adapter.sites) {
    f.a.set_requires_grad(true);
    f.b.set_requires_grad(true);
  }
  const auto bank = bank_of(adapter);
  const routing::ConstantRouter router(bank, {{0, 1.0f}}, ops::Combine::outputs);
  const auto bind = routing::bind_requests(router, std::vector<routing::Request>(3));
  const auto all = logits({0, 1, 2}, bind);
  for (std::size_t n = 0; n < 3; ++n) EXPECT_LT(distance(all[n], expected("adapter.logits", n)), kForward) << n;

  std::vector<data::TokenRow> rows(3);
  double tokens = 0;
  for (std::size_t n = 0; n < 3; ++n) {
    rows[n].ids = prompts_[n];
    rows[n].target_begin = static_cast<std::int32_t>(prompts_[n].size());
    rows[n].ids.insert(rows[n].ids.end(), answers_[n].begin() + 1, answers_[n].end());
    tokens += static_cast<double>(answers_[n].size() - 1);
  }
  for (const auto kept : {model::Activations::keep, model::Activations::recompute}) {
    std::vector<training::WeightedRow> weighted;
    for (const auto& row : rows) weighted.push_back({&row, 1.0 / tokens});
    const auto pass = model::answer_pass(model_, training::answer_rows(weighted), bind, kept);
    const auto loss = training::weighted_loss(model_, pass.hidden, weighted);
    EXPECT_NEAR(loss.item<double>(), file_->load("adapter.loss").item<double>(), 1e-5);
    loss.backward();
    for (auto& [site, f] : adapter.sites) {
      EXPECT_LT(distance(f.a.grad(), file_->load("grad." + site + ".lora_A")), 1e-4) << site;
      EXPECT_LT(distance(f.b.grad(), file_->load("grad." + site + ".lora_B")), 1e-4) << site;
      f.a.mutable_grad() = at::Tensor();
      f.b.mutable_grad() = at::Tensor();
    }
  }
}

TEST_P(TinyT5, CandidatesAreScoredAsTheDecoderSaysThem) {
  const Ids candidate(answers_[0].begin() + 1, answers_[0].end()), single{candidate[0]};
  const auto scores = evaluation::score_candidates(model_, {{prompts_[0], {candidate, single}}}, nullptr);
  const auto log_probabilities = at::log_softmax(expected("logits", 0).to(at::kDouble), 1);
  double sum = 0;
  for (std::size_t t = 0; t < candidate.size(); ++t) {
    sum += log_probabilities[static_cast<std::int64_t>(t)][candidate[t]].item<double>();
    if (t > 0) continue;
    EXPECT_NEAR(scores[0][1], sum, 1e-4);
  }
  EXPECT_NEAR(scores[0][0], sum, 1e-4);
}

TEST_P(TinyT5, AnAnswerWithoutItsPromptIsRefused) {
  model::RowCache cache;
  EXPECT_THROW(model_.forward(model::pack({{answers_[0], &cache, true}}, model::Part::answer), nullptr), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TinyT5, testing::Values("v10", "v11", "mt5"), [](const auto& p) { return p.param; });

TEST(Beams, OfADecoderEqualTransformers) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  const auto file = tensor_io::open_safetensors(golden("llama_untied") / "beam.safetensors");
  serving::GenerateOptions options;
  options.beams = 4;
  options.max_new_tokens = 10;
  options.stop_tokens = {static_cast<std::int32_t>(file->load("end").item<std::int64_t>())};
  const auto scores = file->load("beam.score");
  for (std::int64_t n = 0; n < 3; ++n) {
    const auto beams = beams_of(model, ids_of(file->load("prompt." + std::to_string(n))), options);
    EXPECT_EQ(beams[0].ids, ids_of(file->load("beam." + std::to_string(n)))) << n;
    EXPECT_NEAR(beams[0].score, scores[n].item<double>(), 1e-4) << n;
  }
}

TEST(Beams, OneBeamIsGreedy) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  serving::GenerateOptions greedy;
  greedy.max_new_tokens = 9;
  serving::GenerateOptions options;
  options.beams = 1;
  options.max_new_tokens = 9;
  const Ids prompt{5, 40, 8};
  EXPECT_EQ(beams_of(model, prompt, options)[0].ids, serving::generate(model, {{"", prompt}}, greedy)[0].checked());
}

}  // namespace
}  // namespace quiver
