// SPDX-License-Identifier: Apache-2.0
// Adapters that are not LoRA, against PEFT and plain PyTorch (tools/goldens/kinds_golden.py): outputs, gradients,
// files.
#include "quiver/adapter/kinds.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "quiver/adapter/bank.h"
#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/routing/constant_router.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver {
namespace {

struct Case {
  const char* name;
  const char* model;
};

/// The key of PEFT's file for one of ours: prefixes of encoder-decoders are kept in our own form.
std::string key_there(const std::string& key) { return key == "prefix_embeddings" ? "prompt_embeddings" : key; }

class Kinds : public testing::TestWithParam<Case> {
 protected:
  Kinds()
      : model_(model::load_model(golden(GetParam().model), at::kFloat)),
        adapter_(adapter::read_peft(golden("kinds") / GetParam().name)),
        file_(tensor_io::open_safetensors(golden("kinds/golden.safetensors"))) {
    const auto rows = tensor_io::open_safetensors(golden(GetParam().model) / "golden.safetensors");
    const bool two_stacks = model_.config().encoder_decoder();
    for (int n = 0; n < 3; ++n) {
      auto& row = rows_.emplace_back();
      row.ids = ids_of(rows->load("ids." + std::to_string(n)));
      row.target_begin = two_stacks ? static_cast<std::int32_t>(row.ids.size()) : 1;
      if (!two_stacks) continue;
      const auto answer = ids_of(rows->load("decoder_ids." + std::to_string(n)));
      row.ids.insert(row.ids.end(), answer.begin() + 1, answer.end());
    }
    for (const auto& row : rows_) targets_ += static_cast<double>(row.ids.size()) - row.target_begin;
  }

  at::Tensor expected(const std::string& name) const { return file_->load(std::string(GetParam().name) + "." + name); }

  model::AnswerPass pass(const adapter::Adapter& adapter, std::vector<training::WeightedRow>& weighted) const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add("own", adapter);
    for (const auto& row : rows_) weighted.push_back({&row, 1.0 / targets_});
    const auto bind = training::bind_training_rows(bank, std::vector<training::TrainingRow>(rows_.size()), 0.0);
    return model::answer_pass(model_, training::answer_rows(weighted), bind);
  }

  /// Logits that predict the rows' targets, a row's all but the last of the golden ones.
  void check_logits(const adapter::Adapter& adapter) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<training::WeightedRow> weighted;
    const auto logits = model_.logits(pass(adapter, weighted).hidden);
    std::int64_t begin = 0;
    for (std::size_t n = 0; n < 3; ++n) {
      const auto own = expected("logits." + std::to_string(n));
      const auto count = static_cast<std::int64_t>(rows_[n].ids.size()) - rows_[n].target_begin;
      EXPECT_LT(distance(logits.narrow(0, begin, count), own.narrow(0, own.size(0) - 1 - count, count)), 2e-5) << n;
      begin += count;
    }
  }

  model::Model model_;
  adapter::Adapter adapter_;
  std::shared_ptr<const tensor_io::TensorSource> file_;
  std::vector<data::TokenRow> rows_;
  double targets_ = 0;
};

TEST_P(Kinds, OutputsEqualTheReference) { check_logits(adapter_); }

TEST_P(Kinds, GradientsEqualTheReference) {
  adapter::for_each_tensor(adapter_, [](at::Tensor& t) { t.set_requires_grad(true); });
  std::vector<training::WeightedRow> weighted;
  const auto own = pass(adapter_, weighted);
  const auto loss = training::weighted_loss(model_, own.hidden, weighted);
  EXPECT_NEAR(loss.item<double>(), expected("loss").item<double>(), 1e-5);
  loss.backward();
  // The gradients, written as an adapter is, have the keys that the reference gave them.
  auto gradients = adapter_;
  adapter::for_each_tensor(gradients, [](at::Tensor& t) { t = t.grad(); });
  const auto folder = fs::temp_directory_path() / fmt::format("quiver-kinds-{}", getpid());
  fs::create_directories(folder);
  adapter::write_peft(folder, gradients, "tiny");
  const auto written = tensor_io::open_safetensors(folder / "adapter_model.safetensors");
  std::size_t trained = 0;
  for (const auto& [key, info] : written->tensors()) {
    const auto name = "grad." + key_there(key);
    if (!file_->tensors().contains(std::string(GetParam().name) + "." + name)) continue;
    EXPECT_LT(distance(written->load(key), expected(name)), 1e-4) << key;
    ++trained;
  }
  const bool shared = adapter_.stored_at("", "base_model.vera_A").defined();  // VeRA's two are not trained
  EXPECT_EQ(trained, written->tensors().size() - (shared ? 2 : 0));
  fs::remove_all(folder);
}

TEST_P(Kinds, WrittenAndReadItIsTheSame) {
  const auto folder = fs::temp_directory_path() / fmt::format("quiver-kinds-{}", getpid());
  fs::create_directories(folder);
  adapter::write_peft(folder, adapter_, "tiny");
  EXPECT_EQ(adapter::identity(adapter::read_peft(folder)), adapter::identity(adapter_));
  // The same tensors under the same keys as the reference wrote.
  const auto ours = tensor_io::open_safetensors(folder / "adapter_model.safetensors");
  const auto theirs = tensor_io::open_safetensors(golden("kinds") / GetParam().name / "adapter_model.safetensors");
  ASSERT_EQ(ours->tensors().size(), theirs->tensors().size());
  for (const auto& [key, info] : ours->tensors())
    EXPECT_TRUE(at::equal(ours->load(key), theirs->load(key_there(key)))) << key;
  const auto config = nlohmann::json::parse(read_file(folder / "adapter_config.json", 1 << 20));
  EXPECT_EQ(config.at("task_type"), model_.config().encoder_decoder() ? "SEQ_2_SEQ_LM" : "CAUSAL_LM")
      << "without it PEFT leaves vectors out";
  fs::remove_all(folder);
}

TEST_P(Kinds, RowsUnderOtherExpertsDoNotFeelIt) {
  if (adapter_.soft_prompt.defined() || adapter_.prefix.defined())
    GTEST_SKIP() << "prompts are a row's own by construction";
  const c10::AutoGradMode no_gradient(false);
  auto bank = std::make_shared<adapter::Bank>(model_);
  bank->add("own", adapter_);
  std::vector<training::WeightedRow> weighted;
  for (const auto& row : rows_) weighted.push_back({&row, 1.0});
  const auto rows = training::answer_rows(weighted);
  const auto under = [&](const std::vector<std::vector<ops::ExpertWeight>>& pairs) {
    return model::answer_pass(model_, rows,
                              [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) {
                                return routing::bind_rows(bank, batch, pairs);
                              })
        .hidden;
  };
  const auto mixed = under({{}, {{0, 1.0f}}, {}}), base = under({{}, {}, {}}),
             own = under({{{0, 1.0f}}, {{0, 1.0f}}, {{0, 1.0f}}});
  const auto first = static_cast<std::int64_t>(rows[0].answer.size()),
             second = static_cast<std::int64_t>(rows[1].answer.size());
  EXPECT_LT(distance(mixed.narrow(0, 0, first), base.narrow(0, 0, first)), 1e-5);
  EXPECT_LT(distance(mixed.narrow(0, first, second), own.narrow(0, first, second)), 1e-5);
  // Weight 0 is the base model, half of an expert is neither.
  const auto none = under({{{0, 0.0f}}, {{0, 0.0f}}, {{0, 0.0f}}});
  EXPECT_LT(distance(none, base), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(All, Kinds,
                         testing::Values(Case{"ia3", "llama_untied"}, Case{"prompt", "llama_untied"},
                                         Case{"norms", "llama_untied"}, Case{"series", "llama_untied"},
                                         Case{"beside", "llama_untied"}, Case{"block", "llama_untied"},
                                         Case{"products", "llama_untied"}, Case{"dora", "llama_untied"},
                                         Case{"vera", "llama_untied"}, Case{"prefix", "llama_untied"},
                                         Case{"mpt", "llama_untied"}, Case{"t5_ia3", "t5/v11"},
                                         Case{"t5_prefix", "t5/mt5"}),
                         [](const auto& p) { return p.param.name; });

/// Files of encoder-decoders that PEFT reads in part: layers share what is stored for one of them, half of a prompt's
/// vectors go unread.
class PartlyReadKinds : public Kinds {};
TEST_P(PartlyReadKinds, OutputsEqualTheReference) { check_logits(adapter_); }
INSTANTIATE_TEST_SUITE_P(All, PartlyReadKinds,
                         testing::Values(Case{"t5_prefix_two", "t5/v11"}, Case{"t5_prompt", "t5/v11"}),
                         [](const auto& p) { return p.param.name; });

TEST(NewAdapters, StartWhereNothingChanges) {
  const std::vector<std::pair<const char*, std::set<std::string>>> cases{
      {"llama_untied", {"lora", "ia3", "bitfit", "norms"}},
      {"t5/v10", {"lora", "ia3", "bitfit", "norms"}},
      {"llama_untied", {"vera", "norms"}},
      {"llama_untied", {"dora"}},
      {"t5/v11", {"dora"}}};
  for (const auto& [name, kinds] : cases) {
    const auto model = model::load_model(golden(name), at::kFloat);
    adapter::KindOptions options;
    options.kinds = kinds;
    const auto adapter = adapter::make_adapter(model, {}, options, 3);
    EXPECT_EQ(adapter::task_type(adapter), model.config().encoder_decoder() ? "SEQ_2_SEQ_LM" : "CAUSAL_LM");
    auto bank = std::make_shared<adapter::Bank>(model);
    bank->add("new", adapter);
    const c10::AutoGradMode no_gradient(false);
    const Ids ids{5, 9, 20};
    const auto batch = model::pack({{ids, nullptr, true}});
    const auto source = routing::bind_rows(bank, batch, {{{0, 1.0f}}});
    EXPECT_LT(distance(model.forward(batch, source.get()), model.forward(batch, nullptr)), 1e-6) << name;
  }
}

/// Every kind, new, trains: its loss falls.
TEST(NewAdapters, Learn) {
  const std::vector<std::pair<const char*, std::set<std::string>>> all{
      {"llama_untied", {"dora"}},
      {"llama_untied", {"vera"}},
      {"llama_untied", {"compacter"}},
      {"llama_untied", {"parallel-mlp"}},
      {"llama_untied", {"mpt"}},
      {"llama_untied", {"prefix"}},
      {"llama_untied", {"prefix", "parallel-mlp"}},
      {"llama_untied", {"lora", "prefix", "bottleneck"}},
      {"t5/v11", {"prefix"}},
      {"t5/v11", {"prefix", "prompt"}}};
  const data::TokenRow row{{5, 9, 20, 11, 40, 7}, 2, 1.0};
  const std::vector<training::WeightedRow> rows{{&row, 0.25}};
  for (const auto& [name, kinds] : all) {
    const auto model = model::load_model(golden(name), at::kFloat);
    adapter::KindOptions options;
    options.kinds = kinds;
    options.width = 4;
    options.prompt_tokens = 3;
    adapter::set_option(options, "products", "2");
    adapter::set_option(options, "prefix_hidden", kinds.size() == 1 ? "0" : "6");
    auto adapter = adapter::make_adapter(model, {.rank = 2}, options, 3);
    adapter::for_each_tensor(adapter, [](at::Tensor& t) { t.set_requires_grad(true); });
    auto bank = std::make_shared<adapter::Bank>(model);
    bank->add("new", adapter);
    double first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      const auto bind = training::bind_training_rows(bank, {{0, 0}}, 0.0);
      const auto loss =
          training::weighted_loss(model, model::answer_pass(model, training::answer_rows(rows), bind).hidden, rows);
      (step == 0 ? first : last) = loss.item<double>();
      loss.backward();
      const c10::AutoGradMode no_gradient(false);
      adapter::for_each_tensor(adapter, [](at::Tensor& t) {
        t.sub_(t.grad().sign() * 0.02);
        t.mutable_grad() = at::Tensor();
      });
    }
    EXPECT_LT(last, 0.8 * first) << *kinds.begin();
    // Kept and read again it is the same, a prefix without the map that it was trained through.
    const auto folder = fs::temp_directory_path() / fmt::format("quiver-kinds-{}", getpid());
    fs::create_directories(folder);
    adapter::write_peft(folder, adapter, "tiny");
    auto kept = std::make_shared<adapter::Bank>(model);
    kept->add("kept", adapter::read_peft(folder));
    const c10::AutoGradMode no_gradient(false);
    const auto hidden = [&](const std::shared_ptr<adapter::Bank>& of) {
      return model::answer_pass(model, training::answer_rows(rows), training::bind_training_rows(of, {{0, 0}}, 0.0))
          .hidden;
    };
    EXPECT_LT(distance(hidden(kept), hidden(bank)), 1e-5) << *kinds.begin();
    fs::remove_all(folder);
  }
}

std::vector<Ids> answers_of(const model::Model& model, const std::vector<Ids>& prompts,
                            const serving::GenerateOptions& options, const routing::Router* router,
                            const serving::EngineOptions& engine = {}) {
  std::vector<routing::Request> requests;
  for (const auto& prompt : prompts) requests.push_back({"", prompt});
  std::vector<Ids> out;
  for (const auto& answer : serving::generate(model, requests, options, router, nullptr, engine))
    out.push_back(answer.checked());
  return out;
}

/// Prompts read at once, in portions and beside other rows; answers from caches: all as the whole pass says.
TEST(NewAdapters, GenerationUnderAPrefixIsThatOfWholePasses) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  auto bank = std::make_shared<adapter::Bank>(model);
  bank->add("own", adapter::read_peft(golden("kinds/prefix")));
  const c10::AutoGradMode no_gradient(false);
  const std::vector<Ids> prompts{{5, 9, 20, 11, 40, 7, 31}, {12, 3}};
  const std::vector<std::vector<ops::ExpertWeight>> pairs{{{0, 1.0f}}};
  const auto soft = routing::soft_prompts(*bank, pairs);
  const routing::ConstantRouter router(bank, pairs[0]);
  std::vector<Ids> expected;
  for (const auto& prompt : prompts) {
    auto ids = prompt;
    for (int n = 0; n < 6; ++n) {
      const auto batch = model::pack({{ids, nullptr, true, soft[0]}});
      const auto source = routing::bind_rows(bank, batch, {pairs[0]});
      const auto hidden = model.forward(batch, source.get());
      ids.push_back(model.logits(hidden.narrow(0, hidden.size(0) - 1, 1)).argmax().item<std::int32_t>());
    }
    expected.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end());
  }
  serving::GenerateOptions options;
  options.max_new_tokens = 6;
  for (const std::int64_t pass : {2048, 4})
    EXPECT_EQ(answers_of(model, prompts, options, &router, {.pass_tokens = pass}), expected) << pass;
}

/// The same behind an encoder, where a prefix stands before the answer: in steps, side by side, and by beams.
TEST(NewAdapters, AnswersUnderAPrefixAreThoseOfWholePasses) {
  const auto model = model::load_model(golden("t5/v11"), at::kFloat);
  auto bank = std::make_shared<adapter::Bank>(model);
  bank->add("own", adapter::read_peft(golden("kinds/t5_prefix_two")));
  bank->add("other", adapter::make_lora(model, {.rank = 2}, 1));
  const c10::AutoGradMode no_gradient(false);
  const std::vector<Ids> prompts{{5, 9, 20, 11, 40, 7, 31}, {12, 3}};
  const routing::ConstantRouter router(bank, {{0, 1.0f}});
  std::vector<Ids> expected;
  for (const auto& prompt : prompts) {
    Ids answer;
    for (int n = 0; n < 6; ++n) {
      auto longer = answer;
      longer.push_back(2);  // the last predicts nothing
      const auto pass = model::answer_pass(model, {{prompt, longer}}, routing::bind_requests(router, {{"", prompt}}));
      answer.push_back(model.logits(pass.hidden.narrow(0, n, 1)).argmax().item<std::int32_t>());
    }
    expected.push_back(answer);
  }
  serving::GenerateOptions options;
  options.max_new_tokens = 6;
  EXPECT_EQ(answers_of(model, prompts, options, &router), expected);
  EXPECT_NE(answers_of(model, prompts, options, nullptr), expected);
  options.beams = 1;
  EXPECT_EQ(answers_of(model, prompts, options, &router), expected);
  EXPECT_THROW(routing::ConstantRouter(bank, {{0, 0.5f}, {1, 0.5f}}).sessions()->open({{"", prompts[0]}}), Error);
  EXPECT_THROW(bank->require({"arrow", adapter::kAtSites}), Error);
}

TEST(NewAdapters, TellTheirKinds) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  const std::vector<std::set<std::string>> all{{"lora"},      {"dora", "norms"}, {"vera"},  {"ia3"},
                                               {"bitfit"},    {"bottleneck"},    {"mpt"},   {"prompt"},
                                               {"compacter"}, {"prefix"},        {"norms"}, {"lora", "ia3"}};
  for (const auto& kinds : all) {
    adapter::KindOptions options;
    options.kinds = kinds;
    EXPECT_EQ(adapter::kinds_of(adapter::make_adapter(model, {.rank = 2}, options, 3)), kinds) << *kinds.begin();
  }
}

TEST(NewAdapters, UnknownKindsAndTargetsAreRefused) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  EXPECT_THROW(adapter::check_kind_name("lore"), Error);
  adapter::KindOptions options;
  options.kinds = {"bottleneck"};
  options.targets = {"nothing"};
  EXPECT_THROW(adapter::make_adapter(model, {}, options, 1), Error);
  options.targets = {};
  options.kinds = {"bottleneck", "parallel"};
  EXPECT_THROW(adapter::make_adapter(model, {}, options, 1), Error);
}

TEST(Banks, RefuseWhatDoesNotFitOtherKindsToo) {
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  adapter::Bank bank(model);
  adapter::Adapter wrong;
  wrong.norms["model.layers.0.input_layernorm"] = at::ones({31});
  EXPECT_THROW(bank.add("a", wrong), Error);
  wrong.norms = {{"model.layers.0.no_such_norm", at::ones({32})}};
  EXPECT_THROW(bank.add("a", wrong), Error);
  wrong.norms.clear();
  wrong.extras["model.layers.0.mlp.down_proj"].bias = at::ones({31});
  EXPECT_THROW(bank.add("a", wrong), Error);
  wrong.extras.clear();
  wrong.soft_prompt = at::ones({4, 31});
  EXPECT_THROW(bank.add("a", wrong), Error);
  wrong.soft_prompt = at::Tensor();
  wrong.prefix = at::ones({4, 31});
  EXPECT_THROW(bank.add("a", wrong), Error);
  wrong.prefix = at::Tensor();
  wrong.stored["model.layers.0.mlp.down_proj"][".lora_magnitude_vector"] = at::ones({32});
  EXPECT_THROW(bank.add("a", wrong), Error);  // of no factors
  EXPECT_EQ(bank.size(), 0);
}

}  // namespace
}  // namespace quiver
