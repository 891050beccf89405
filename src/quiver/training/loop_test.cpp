// SPDX-License-Identifier: Apache-2.0
// The rules of the loop, with a prompt of vectors before a tiny model as what is trained.
#include "quiver/training/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {
namespace {

/// Keeps what is said.
class Said : public SilentProgress {
 public:
  void say(const std::string& line) override { lines.push_back(line); }
  std::vector<std::string> lines;
};

class LoopRules : public testing::Test {
 protected:
  LoopRules() {
    options_.batch_rows = 2;
    options_.epochs = 4;
    options_.learning_rate = 0.1;
    options_.warmup = 0.0;
    options_.checkpoint_seconds = 0.0;
    for (std::int32_t n = 0; n < 6; ++n) rows_.push_back({{{10 + n, 20, 30, 5 + n % 2, 40}, 3, 1.0, 0}, 0});
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<ParameterGroup> groups() const {
    return {{"prompt", at::full({2, model_.config().hidden}, 0.1, at::kFloat).set_requires_grad(true),
             options_.learning_rate}};
  }
  /// Trains a prompt; `fail_at`: throws at that step, as a killed run.
  Figures train(std::vector<ParameterGroup>& groups, const std::vector<RoutedRow>& validation, RunFolder* run = nullptr,
                std::int64_t fail_at = -1) {
    RoutedMethod method;
    method.begin = [&](std::int64_t step) {
      if (step == fail_at) throw std::runtime_error("killed");
    };
    method.bind = [&](const std::vector<WeightedRow>& rows) {
      return model::prompts_alone(std::vector<at::Tensor>(rows.size(), groups[0].values));
    };
    return train_routed({model_, options_, progress_, "test", run}, groups, rows_, validation, method);
  }

  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  TrainOptions options_;
  SilentProgress progress_;
  std::vector<RoutedRow> rows_;
  fs::path folder_ = fs::temp_directory_path() / fmt::format("quiver-loop-{}", getpid());
};

TEST_F(LoopRules, StepsAndEpochsWhicheverComesFirst) {
  for (const auto& [max_steps, expected] : {std::pair{0, 12}, {5, 5}, {100, 12}}) {
    options_.max_steps = max_steps;
    auto own = groups();
    const auto figures = train(own, {});
    EXPECT_EQ(figures.steps, expected);
    EXPECT_EQ(figures.best_step, expected) << "without validation the last weights are kept";
    EXPECT_TRUE(figures.note.empty());
  }
}

TEST_F(LoopRules, PatienceStopsAndTheStartIsKeptAndSaid) {
  options_.epochs = 40;
  auto learned = groups();
  train(learned, {});
  options_.patience = 2;
  options_.validate_every = 1;
  options_.learning_rate = 30;  // from a good start every step makes it worse
  auto own = groups();
  const auto start = learned[0].values.detach().clone();
  own[0].values = start.clone().set_requires_grad(true);
  const auto figures = train(own, rows_);
  EXPECT_EQ(figures.steps, 2);
  EXPECT_TRUE(figures.stopped_early);
  EXPECT_EQ(figures.best_step, 0);
  EXPECT_EQ(figures.validation_loss, figures.first_validation);
  EXPECT_TRUE(at::equal(own[0].values, start));
  EXPECT_NE(figures.note.find("no better than before training"), std::string::npos) << figures.note;
}

TEST_F(LoopRules, WhatIsKeptHasTheLossThatIsReported) {
  options_.validate_every = 1;
  options_.epochs = 10;
  options_.learning_rate = 1;
  auto own = groups();
  const auto figures = train(own, rows_);
  std::vector<WeightedRow> all;
  for (const auto& row : rows_) all.push_back({&row.row});
  const double loss = mean_loss(model_, all, [&](const auto& rows) {
    return model::prompts_alone(std::vector<at::Tensor>(rows.size(), own[0].values));
  });
  EXPECT_NEAR(loss, figures.validation_loss, 1e-5);
  EXPECT_LE(figures.validation_loss, figures.first_validation);
}

TEST_F(LoopRules, RowsOfWeightZeroAddNothing) {
  options_.shuffle = false;
  auto with = groups(), without = groups();
  auto validation = rows_;
  validation[1].row.weight = 0;
  const auto first = train(with, validation);
  validation.erase(validation.begin() + 1);
  const auto second = train(without, validation);
  EXPECT_NEAR(first.validation_loss, second.validation_loss, 1e-6);
  EXPECT_EQ(first.best_step, second.best_step);

  for (auto& row : validation) row.row.weight = 0;
  auto last = groups();
  const auto none = train(last, validation);
  EXPECT_TRUE(std::isnan(none.validation_loss));
  EXPECT_EQ(none.best_step, none.steps);
  EXPECT_NE(none.note.find("weight 0"), std::string::npos);

  rows_[0].row.weight = rows_[1].row.weight = 0;  // a whole batch
  auto own = groups();
  const auto figures = train(own, rows_);
  EXPECT_TRUE(std::isfinite(figures.train_loss));
  EXPECT_TRUE(std::isfinite(figures.validation_loss));
}

TEST_F(LoopRules, WhatIsNotFiniteEndsTheRunWithTheRemedy) {
  for (const bool validated : {true, false}) {
    auto own = groups();
    own[0].values.detach().fill_(std::nan(""));
    try {
      train(own, validated ? rows_ : std::vector<RoutedRow>());
      FAIL() << validated;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("lower --learning-rate"), std::string::npos) << error.what();
    }
  }
  options_.learning_rate = 1e39;  // a float32 cannot be so large
  auto own = groups();
  EXPECT_THROW(train(own, {}), Error);
}

TEST_F(LoopRules, AKilledRunGoesOnToTheSameWeightsAndItsCheckpointStaysUntilItIsSaved) {
  auto straight = groups(), killed = groups(), resumed = groups();
  const auto whole = train(straight, rows_);
  {
    RunFolder run(folder_, "key", false, progress_);
    EXPECT_THROW(train(killed, rows_, &run, 7), std::runtime_error);
  }
  {
    RunFolder other(folder_, "another key", false, progress_);
    auto own = groups();
    EXPECT_THROW(train(own, rows_, &other), Error);
  }
  RunFolder run(folder_, "key", false, progress_);
  const auto rest = train(resumed, rows_, &run);
  EXPECT_EQ(rest.steps, whole.steps);
  EXPECT_EQ(rest.best_step, whole.best_step);
  EXPECT_EQ(rest.validation_loss, whole.validation_loss);
  EXPECT_EQ(rest.first_validation, whole.first_validation);
  EXPECT_TRUE(at::equal(straight[0].values, resumed[0].values));
  EXPECT_TRUE(fs::exists(folder_ / "checkpoint" / "state.json"));
  // Ended and not saved: nothing is trained again.
  auto again = groups();
  EXPECT_EQ(train(again, rows_, &run, 0).steps, whole.steps);
  EXPECT_TRUE(at::equal(straight[0].values, again[0].values));
  run.drop_checkpoint();
  EXPECT_FALSE(fs::exists(folder_ / "checkpoint"));
}

TEST_F(LoopRules, WeightDecaySparesVectors) {
  options_.weight_decay = 0.5;
  options_.max_steps = 1;
  options_.learning_rate = 1e-9;  // decay is what moves
  auto own = groups();
  own.push_back({"matrix", at::ones({2, 2}).set_requires_grad(true), 0.1});
  own.push_back({"vector", at::ones({4}).set_requires_grad(true), 0.1});
  train(own, {});
  EXPECT_LT(own[1].values.max().item<double>(), 0.96);
  EXPECT_TRUE(at::equal(own[2].values, at::ones({4})));
}

TEST_F(LoopRules, ASharedAIsNotTrainedNorDecayed) {
  options_.weight_decay = 0.5;
  options_.lora.rank = 2;
  options_.lora.share_a = true;
  const auto start = adapter::make_lora(model_, options_.lora, 3);
  ExpertObjective objective(model_, options_);
  ExpertData data{"e", {}, {}, {}};
  for (const auto& row : rows_) data.train.push_back(row.row);
  objective.add(std::move(data), start);
  Loop(objective, options_, progress_, "test").run();
  const auto trained = objective.result(0);
  for (const auto& [site, f] : start.sites) {
    EXPECT_TRUE(at::equal(trained.sites.at(site).a, f.a)) << site;
    EXPECT_FALSE(at::equal(trained.sites.at(site).b, f.b)) << site;
  }
}

TEST_F(LoopRules, OfSeveralLanesTheOthersGoOnWhereOneFails) {
  options_.lora.rank = 2;
  for (const bool validated : {false, true}) {
    ExpertObjective objective(model_, options_);
    for (const std::string name : {"bad", "good", "worse"}) {
      ExpertData data{name, {}, {}, {}};
      for (const auto& row : rows_) data.train.push_back(row.row);
      if (validated) data.validation = data.train;
      auto start = adapter::make_lora(model_, options_.lora, 3);
      if (name != "good") start.sites.begin()->second.b.fill_(std::nan(""));
      objective.add(std::move(data), start);
    }
    Said said;
    Loop loop(objective, options_, said, "test");
    std::vector<std::size_t> ended;
    try {
      loop.run([&](std::size_t lane, const Figures&) { ended.push_back(lane); });
      ADD_FAILURE() << "expected an Error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("2 of 3 failed, as said above: expert bad, expert worse; the others"),
                std::string::npos)
          << error.what();
    }
    EXPECT_EQ(ended, std::vector<std::size_t>{1});
    ASSERT_EQ(said.lines.size(), 2u) << "each when it fails";
    EXPECT_NE(said.lines[1].find("expert worse"), std::string::npos) << said.lines[1];
  }
}

TEST_F(LoopRules, ARunThatCameToNoNumbersLeavesNoCheckpointAndOneThatWasNotKeptDoes) {
  auto own = groups();
  int steps = 0;
  own[0].stepped = [&, values = own[0].values.detach()](const at::Tensor&) mutable {
    if (++steps == 4) values.fill_(std::nan(""));
  };
  {
    RunFolder run(folder_, "high rate", false, progress_);
    EXPECT_THROW(train(own, rows_, &run), Error);
    EXPECT_GE(steps, 4);
    EXPECT_FALSE(fs::exists(folder_ / "checkpoint"));
  }
  RunFolder run(folder_, "lower rate", false, progress_);
  ExpertObjective objective(model_, options_);
  ExpertData data{"e", {}, {}, {}};
  for (const auto& row : rows_) data.train.push_back(row.row);
  objective.add(std::move(data), adapter::make_lora(model_, options_.lora, 3), &run);
  Loop loop(objective, options_, progress_, "test");
  EXPECT_THROW(loop.run([](std::size_t, const Figures&) { quiver::fail(ErrorCode::io, "library", "full"); }), Error);
  EXPECT_TRUE(fs::exists(folder_ / "checkpoint" / "state.json"));
}

TEST_F(LoopRules, ValidationShowsHowFarItIs) {
  class Shown : public SilentProgress {
   public:
    void update(const std::string&, std::uint64_t, std::uint64_t, const std::string& note) override {
      notes.push_back(note);
    }
    std::vector<std::string> notes;
  } shown;
  options_.max_steps = 1;
  ExpertObjective objective(model_, options_);
  ExpertData data{"e", {}, {}, {}};
  for (const auto& row : rows_) data.train.push_back(row.row);
  data.validation = data.train;
  objective.add(std::move(data), adapter::make_lora(model_, options_.lora, 3));
  Loop(objective, options_, shown, "test").run();
  EXPECT_EQ(std::count(shown.notes.begin(), shown.notes.end(), "validating, row 6 of 6"), 2);
}

TEST_F(LoopRules, ASecondRunOfAFolderWaitsAndIsToldSo) {
  class Told : public SilentProgress {
   public:
    void say(const std::string&) override { told = true; }
    std::atomic<bool> told = false;
  } said;
  auto first = std::make_unique<RunFolder>(folder_, "key", false, progress_);
  std::atomic<bool> entered = false;
  std::thread second([&] {
    const RunFolder run(folder_, "key", false, said);
    entered = true;
  });
  while (!said.told) std::this_thread::yield();
  EXPECT_FALSE(entered);
  first.reset();
  second.join();
  EXPECT_TRUE(entered);
}

}  // namespace
}  // namespace quiver::training
