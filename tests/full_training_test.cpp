// SPDX-License-Identifier: Apache-2.0
// Training every weight: gradients against transformers (tools/goldens/t5_golden.py) and finite differences; runs that
// are killed go on.
#include "quiver/training/methods/full_training.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/base/error.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/text/tokenizer_folder.h"
#include "quiver/training/methods/model_folder.h"
#include "quiver/training/methods/pretraining.h"
#include "quiver/training/row_loss.h"

namespace quiver {
namespace {

double loss_of(const model::TrainableModel& model, const std::vector<data::TokenRow>& rows, bool backward) {
  std::vector<training::WeightedRow> weighted;
  double targets = 0;
  for (const auto& row : rows) targets += static_cast<double>(row.ids.size()) - row.target_begin;
  for (const auto& row : rows) weighted.push_back({&row, 1.0 / targets});
  const auto network = model.model();
  const auto pass = model::answer_pass(network, training::answer_rows(weighted), nullptr);
  const auto loss = training::weighted_loss(network, pass.hidden, weighted);
  if (backward) loss.backward();
  return loss.item<double>();
}

class WholeT5 : public testing::TestWithParam<const char*> {};

TEST_P(WholeT5, GradientsEqualTransformers) {
  const auto folder = golden(std::string("t5/") + GetParam());
  const auto file = tensor_io::open_safetensors(folder / "golden.safetensors");
  std::vector<data::TokenRow> rows(3);
  for (std::size_t n = 0; n < 3; ++n) {
    const auto add = [&](const std::string& name, std::int64_t begin) {
      const auto ids = file->load(name + "." + std::to_string(n));
      for (std::int64_t i = begin; i < ids.numel(); ++i) rows[n].ids.push_back(ids[i].item<std::int32_t>());
    };
    add("ids", 0);
    rows[n].target_begin = static_cast<std::int32_t>(rows[n].ids.size());
    add("decoder_ids", 1);
  }
  const auto model = model::TrainableModel::open(folder);
  EXPECT_NEAR(loss_of(model, rows, true), file->load("full.loss").item<double>(), 1e-5);
  std::int64_t begin = 0;
  const auto weights = tensor_io::open_safetensors(folder / "model.safetensors");
  for (const auto& [name, info] : weights->tensors()) {
    const auto expected = file->load("full." + name).reshape({-1});
    const auto got = model.gradient.narrow(0, begin, expected.numel());
    const auto spread = (expected.max() - expected.min()).item<double>();
    EXPECT_LT((got - expected).abs().max().item<double>(), 1e-4 * spread + 1e-9) << name;
    begin += expected.numel();
  }
  EXPECT_EQ(begin, model.parameters.numel());
}

INSTANTIATE_TEST_SUITE_P(Kinds, WholeT5, testing::Values("v10", "v11", "mt5"), [](const auto& p) { return p.param; });

class WholeModel : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    options_.learning_rate = 1e-2;
    options_.schedule = training::Schedule::constant;
    options_.checkpoint_seconds = 0;
    options_.validate_every = 2;
    for (std::int32_t n = 0; n < 6; ++n)
      rows_.push_back({{10 + n, 20, 30, 5 + n % 2, static_cast<std::int32_t>(40 + n)}, 3, 1.0, 0});
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Trains in the run folder NAME, as a caller who saves what it came to.
  training::Figures train(model::TrainableModel& model, const std::string& name, std::int64_t steps,
                          std::int64_t fail_at = -1) {
    options_.max_steps = steps;
    training::RunFolder run(folder_ / name, std::to_string(steps), false, progress_);
    const auto figures = training::train_full(model, {options_, "test", &run}, this->steps(fail_at), rows_, progress_);
    EXPECT_TRUE(fs::exists(folder_ / name / "checkpoint" / "state.json")) << "it stays until the model is saved";
    run.drop_checkpoint();
    return figures;
  }
  /// Two rows of each step, which differ from step to step.
  std::function<std::vector<data::TokenRow>(std::int64_t)> steps(std::int64_t fail_at = -1) const {
    return [this, fail_at](std::int64_t step) {
      if (step == fail_at) throw std::runtime_error("killed");
      const auto at = static_cast<std::size_t>(step);
      return std::vector<data::TokenRow>{rows_[at % 6], rows_[(at + 1) % 6]};
    };
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("quiver-full-{}", getpid());
  std::vector<data::TokenRow> rows_;
  training::TrainOptions options_;
  SilentProgress progress_;
};

TEST_F(WholeModel, GradientOfADecoderIsThatOfFiniteDifferences) {
  auto model = model::TrainableModel::open(golden("llama_untied"));
  loss_of(model, rows_, true);
  const auto gradient = model.gradient.clone();
  const c10::AutoGradMode no_gradient(false);
  const auto direction = gradient / gradient.norm();
  // The curvature is large: 1e-2 is already 3 % off. 1e-3 changes the loss by 1e-2, float32 knows it to 1e-6.
  constexpr double kStep = 1e-3;
  model.parameters.add_(direction, kStep);
  const double above = loss_of(model, rows_, false);
  model.parameters.add_(direction, -2 * kStep);
  const double below = loss_of(model, rows_, false);
  EXPECT_NEAR((above - below) / (2 * kStep), gradient.norm().item<double>(), 1e-2 * gradient.norm().item<double>());
}

TEST_F(WholeModel, LearnsAndIsReadAgain) {
  auto model = model::TrainableModel::open(golden("llama_untied"));
  const auto result = train(model, "a", 40);
  EXPECT_LT(result.validation_loss, 0.3 * result.first_validation);
  model.save(folder_);
  const auto read = model::load_model(folder_, at::kFloat);
  const std::vector<std::int32_t> ids{10, 20, 30};
  const auto batch = model::pack({{ids, nullptr, true}});
  // Weights that are trained go by formulas, others by kernels.
  const c10::AutoGradMode no_gradient(false);
  const auto difference = read.forward(batch, nullptr) - model.model().forward(batch, nullptr);
  EXPECT_LT(difference.abs().max().item<double>(), 1e-4);
  EXPECT_FALSE(fs::exists(folder_ / "a" / "checkpoint"));
}

TEST_F(WholeModel, AKilledRunGoesOnToTheSameWeights) {
  auto straight = model::TrainableModel::open(golden("t5/v10"));
  train(straight, "a", 8);
  auto killed = model::TrainableModel::open(golden("t5/v10"));
  EXPECT_THROW(train(killed, "b", 8, 5), std::runtime_error);
  auto again = model::TrainableModel::open(golden("t5/v10"));
  const auto result = train(again, "b", 8);
  EXPECT_EQ(result.steps, 8);
  EXPECT_TRUE(at::equal(again.parameters, straight.parameters));
  // A checkpoint of another run is not taken for this one.
  EXPECT_THROW(train(killed, "c", 8, 5), std::runtime_error);
  EXPECT_THROW(train(killed, "c", 9), Error);
}

TEST_F(WholeModel, WhatAKilledRunLeftHalfWrittenIsInNobodysWay) {
  // An earlier process that had this one's id.
  const auto left = folder_ / "killed/run" / (".checkpoint.writing-" + std::to_string(getpid()) + "-1-0");
  fs::create_directories(left);
  write_file_atomically(left / "state.safetensors", "half");
  EXPECT_NO_THROW(training::check_model_output(training::model_output(folder_ / "killed", false, {})));
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(WholeModel, AModelHasAllThatItsTokenizerIsReadFrom) {
  for (const auto& name : text::tokenizer_files()) write_file_atomically(folder_ / "tokenizer" / name, "{}");
  const auto model = model::TrainableModel::open(golden("llama_untied"));
  const auto output = training::model_output(folder_ / "out", false, {folder_ / "tokenizer"});
  training::save_model(output, model, folder_ / "tokenizer", "key", {});
  for (const auto& name : text::tokenizer_files()) EXPECT_TRUE(fs::exists(folder_ / "out" / name)) << name;
  // They are files of the result, which another may replace.
  for (const auto& name : text::tokenizer_files()) {
    const auto files = model_files();
    EXPECT_EQ(std::count(files.begin(), files.end(), name), 1) << name;
  }
}

TEST_F(WholeModel, PretrainingRefusesAFolderThatIsNotFreeBeforeAllElse) {
  write_file_atomically(folder_ / "out/notes.txt", "mine");
  training::PretrainOptions options;
  options.shape = (golden("t5/v10") / "config.json").string();
  model::write_small_model(folder_ / "tokenizer");
  options.tokenizer = (folder_ / "tokenizer").string();
  options.texts = {(folder_ / "nowhere.txt").string()};  // not read
  options.output = (folder_ / "out").string();
  try {
    training::pretrain(options, progress_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--output"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(folder_ / "out/run"));
  OptionSet set;
  describe(options, set);
  for (const auto* density : {"0", "1", "nan"}) EXPECT_THROW(set.assign("density", density, "test"), Error) << density;
}

TEST_F(WholeModel, AFreshT5HasTheScalesOfItsPaper) {
  const nlohmann::json config{{"architectures", {"T5ForConditionalGeneration"}},
                              {"vocab_size", 500},
                              {"d_model", 64},
                              {"d_kv", 16},
                              {"d_ff", 96},
                              {"num_layers", 2},
                              {"num_heads", 4},
                              {"feed_forward_proj", "gated-gelu"}};
  const auto model = model::TrainableModel::create(config, 3);
  model.save(folder_);
  const auto file = tensor_io::open_safetensors(folder_ / "model.safetensors");
  const auto deviation = [&](const std::string& name) { return file->load(name).std().item<double>(); };
  EXPECT_NEAR(deviation("shared.weight"), 1.0, 0.03);
  EXPECT_NEAR(deviation("encoder.block.1.layer.0.SelfAttention.q.weight"), 1.0 / 32.0, 0.002);
  EXPECT_NEAR(deviation("decoder.block.0.layer.1.EncDecAttention.k.weight"), 1.0 / 8.0, 0.006);
  EXPECT_NEAR(deviation("decoder.block.1.layer.2.DenseReluDense.wo.weight"), 1.0 / std::sqrt(96.0), 0.005);
  EXPECT_EQ(model::load_model(folder_, at::kFloat).parameters(), model.parameters.numel());
  EXPECT_THROW(model::TrainableModel::create({{"architectures", {"LlamaForCausalLM"}}}, 1), Error);
}

}  // namespace
}  // namespace quiver
