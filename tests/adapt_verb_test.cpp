// SPDX-License-Identifier: Apache-2.0
// `quiver adapt` as a user meets it: several regimes over a small library, where each starts, what is said and kept.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/data/join.h"
#include "quiver/library/library.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"
#include "quiver/routing/router.h"
#include "quiver/text/load_tokenizer.h"

namespace quiver {
namespace {

using nlohmann::json;

class AdaptVerb : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    model::write_small_task(folder_ / "new.jsonl", "red");
    model_.emplace(model::load_model(folder_ / "model", at::kFloat));
    const auto library = library::Library::open_or_create(folder_ / "library", "small", model_->fingerprint());
    at::manual_seed(3);
    for (std::int64_t e = 0; e < 3; ++e) {
      experts_.push_back(random_expert(2 + e));
      library::ExpertInfo info;
      info.name = "e" + std::to_string(e);
      info.base_fingerprint = model_->fingerprint();
      library.save(info, experts_.back(), false);
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  adapter::Adapter random_expert(std::int64_t rank) const {
    adapter::LoraOptions options;
    options.rank = rank;
    options.alpha = 3.0;
    auto out = adapter::make_lora(*model_, options, static_cast<std::uint64_t>(rank));
    for (auto& [site, f] : out.sites) f.b = at::randn(f.b.sizes()) * 0.3;
    return out;
  }

  struct Outcome {
    int status = 0;
    std::vector<json> objects;
    std::string errors;
    /// The objects of a regime with (or without) a seed.
    std::vector<json> of(const std::string& regime, bool seeded) const {
      std::vector<json> out;
      for (const auto& object : objects) {
        if (object["regime"] == regime && object.contains("seed") == seeded) out.push_back(object);
      }
      return out;
    }
  };
  /// On so many of the six training rows of the task.
  Outcome adapt(const std::string& more, int shots = 6) const {
    const bool fresh = more.find("private") != std::string::npos;  // the one regime here that reads a rank
    const auto command = std::string(QUIVER_BINARY) + " adapt --json --dtype float32 --threads 1 --model " +
                         path("model") + " --library " + path("library") + " --task " + path("new.jsonl") +
                         " --shots " + std::to_string(shots) + " --steps 3 --batch 6 " + (fresh ? "--rank 2 " : "") +
                         more + " 2>" + path("errors.txt");
    FILE* pipe = popen(command.c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
    Outcome out{WEXITSTATUS(pclose(pipe)), {}, read_file(folder_ / "errors.txt")};
    for (const auto& line : split(output, '\n')) {
      if (!line.empty()) out.objects.push_back(json::parse(line));
    }
    return out;
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Mean of -log p over the answers' tokens of the training rows, under weights of a bank's experts; by full logits.
  double loss(std::shared_ptr<const adapter::Bank> bank, const std::vector<ops::ExpertWeight>& weights,
              ops::Combine combine = ops::Combine::outputs) const {
    const c10::AutoGradMode no_gradient(false);
    const auto tokenizer = text::load_tokenizer(folder_ / "model").tokenizer;
    const auto encode = [&](std::string_view text) { return tokenizer->encode(text); };
    double sum = 0.0, count = 0.0;
    for (int i = 0; i < 6; ++i) {
      const auto row = data::join_texts("red " + std::to_string(i), i % 2 ? "yes" : "no", encode, 601);
      const auto batch = model::pack({{row.ids, nullptr, true}});
      const auto source = routing::bind_rows(bank, batch, {weights}, combine);
      const auto logits = model_->logits(model_->forward(batch, source.get())).log_softmax(1);
      for (auto t = static_cast<std::size_t>(row.target_begin); t < row.ids.size(); ++t, ++count)
        sum -= logits[static_cast<std::int64_t>(t) - 1][row.ids[t]].item<double>();
    }
    return sum / count;
  }
  std::shared_ptr<adapter::Bank> bank() const {
    auto out = std::make_shared<adapter::Bank>(*model_);
    for (std::size_t e = 0; e < experts_.size(); ++e) out->add("e" + std::to_string(e), experts_[e]);
    return out;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_adapt_verb_" + std::to_string(getpid()));
  std::optional<model::Model> model_;
  std::vector<adapter::Adapter> experts_;
};

// float32 losses of a few units, the same sums in another order.
constexpr double kClose = 1e-4;

TEST_F(AdaptVerb, EveryRegimeStartsWhereItSays) {
  const auto outcome = adapt(
      "--seeds 1 --start e2 --evaluations 5 --regime private --regime shared --regime library-mean --regime nearest "
      "--regime selector --regime lorahub");
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const float third = 1.0f / 3.0f;
  const auto all = bank();
  std::vector<double> alone;
  for (std::int64_t e = 0; e < 3; ++e) alone.push_back(loss(all, {{e, 1.0f}}));
  const auto nearest = std::min_element(alone.begin(), alone.end()) - alone.begin();
  const std::map<std::string, double> expected{
      {"private", loss(all, {})},
      {"shared", alone[2]},
      {"library-mean", loss(all, {{0, third}, {1, third}, {2, third}}, ops::Combine::factors)},
      {"nearest", alone[static_cast<std::size_t>(nearest)]},
      {"selector", loss(all, {{0, third}, {1, third}, {2, third}})},
      {"lorahub", loss(all, {})},
  };
  for (const auto& [regime, start] : expected) {
    const auto found = outcome.of(regime, true);
    ASSERT_EQ(found.size(), 1u) << regime;
    EXPECT_NEAR(found[0]["loss_before"].get<double>(), start, kClose) << regime;
    EXPECT_EQ(found[0]["examples"], 6) << regime;
  }
  EXPECT_EQ(outcome.of("nearest", true)[0]["note"], "e" + std::to_string(nearest));
  for (const std::string regime : {"private", "shared", "library-mean", "nearest", "selector"})
    EXPECT_LT(outcome.of(regime, true)[0]["loss"], outcome.of(regime, true)[0]["loss_before"]) << regime;
}

TEST_F(AdaptVerb, SeveralSeedsEndInTheirMean) {
  const auto outcome = adapt("--seeds 2 --seed 4 --regime private --save kept", 3);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto seeds = outcome.of("private", true), mean = outcome.of("private", false);
  ASSERT_EQ(seeds.size(), 2u);
  ASSERT_EQ(mean.size(), 1u);
  EXPECT_EQ(seeds[0]["seed"], 4);
  EXPECT_EQ(seeds[1]["seed"], 5);
  EXPECT_EQ(seeds[0]["examples"], 3);
  const double a = seeds[0]["value"], b = seeds[1]["value"];
  EXPECT_NEAR(mean[0]["mean"].get<double>(), (a + b) / 2, 1e-12);
  // Student's t of one degree of freedom; s / sqrt(2) of two numbers is half their distance.
  EXPECT_NEAR(mean[0]["interval"][1].get<double>(), (a + b) / 2 + 12.7062 * std::abs(a - b) / 2, 1e-4);
  EXPECT_EQ(outcome.of("zero-shot", false).size(), 2u) << "its score, and its line of the table";
  const auto library = library::Library::open(folder_ / "library");
  EXPECT_EQ(library.names(), (std::vector<std::string>{"e0", "e1", "e2", "kept.private.4", "kept.private.5"}));
}

TEST_F(AdaptVerb, WhatIsKeptIsWhatWasScored) {
  const auto outcome = adapt("--seeds 1 --regime library-mean --save kept");
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto library = library::Library::open(folder_ / "library");
  const auto info = library.info("kept");
  EXPECT_EQ(info.tasks, (std::vector<std::string>{"new"}));
  EXPECT_EQ(info.training["regime"], "library-mean");
  auto kept = std::make_shared<adapter::Bank>(*model_);
  kept->add("kept", library.load("kept"));
  EXPECT_NEAR(loss(kept, {{0, 1.0f}}), outcome.objects.at(1)["loss"].get<double>(), kClose);
}

TEST_F(AdaptVerb, WhatARegimeLacksIsRefusedBeforeTheOthersRun) {
  for (const std::string more : {"--regime private --regime poly", "--regime nearest --regime shared --start e9",
                                 "--regime private --regime private"}) {
    const auto outcome = adapt("--seeds 1 " + more);
    EXPECT_EQ(outcome.status, 2) << more << outcome.errors;
    EXPECT_TRUE(outcome.objects.empty()) << more;
  }
}

TEST_F(AdaptVerb, ARegimeThatFailsDoesNotLoseTheOthers) {
  // The experts are of several ranks, which this retriever does not compare.
  const auto outcome = adapt("--seeds 2 --regime library-mean-retrieved --retriever svd --regime selector --save kept");
  EXPECT_EQ(outcome.status, 1) << outcome.errors;
  EXPECT_EQ(outcome.of("selector", true).size(), 2u);
  EXPECT_EQ(outcome.of("selector", false).size(), 1u);
  EXPECT_TRUE(outcome.of("library-mean-retrieved", true).empty());
  EXPECT_TRUE(outcome.of("library-mean-retrieved", false).empty());
  EXPECT_NE(outcome.errors.find("2 of 4 failed"), std::string::npos) << outcome.errors;
  EXPECT_TRUE(fs::exists(folder_ / "library/experts/kept.selector.1"));
}

TEST_F(AdaptVerb, WrongUsageIsOneLine) {
  const auto expect = [&](const std::string& more, const std::string& part) {
    const auto outcome = adapt(more);
    EXPECT_EQ(outcome.status, 2) << more;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
  };
  expect("--seeds 1 --regime privat", "did you mean 'private'");
  expect("--seeds 0 --regime private", "1 or more");
  expect("--seeds 1 --regime shared --rank 4", "--rank");
  expect("--seeds 1 --regime shared --start e9", "e9");
}

}  // namespace
}  // namespace quiver
