// SPDX-License-Identifier: Apache-2.0
// The life of experts on a small model: trained alone and together, killed and resumed, stored, clustered, routed.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/library.h"
#include "quiver/model/load.h"
#include "quiver/routing/token/directions.h"
#include "quiver/training/trainer.h"

namespace quiver {
namespace {

using training::ExpertData;
using training::TrainOptions;

fs::path golden(const std::string& name) { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / name; }

/// Rows whose target follows from their source: the same token again, shifted by `shift`.
ExpertData echo_task(const std::string& name, int shift, std::size_t rows) {
  ExpertData data{name, {name}, {}, {}};
  Random random(static_cast<std::uint64_t>(shift));
  for (std::size_t i = 0; i < rows; ++i) {
    data::TokenRow row;
    const auto length = 2 + random.below(6);
    for (std::uint64_t t = 0; t < length; ++t) row.ids.push_back(static_cast<std::int32_t>(random.below(90)));
    row.target_begin = static_cast<std::int32_t>(length);
    row.ids.push_back((row.ids[0] + shift) % 90);
    row.ids.push_back(1);
    (i % 5 ? data.train : data.validation).push_back(row);
  }
  return data;
}

/// Holds a run where it is as soon as `file` is there, for good.
class HoldAtFile : public SilentProgress {
 public:
  explicit HoldAtFile(fs::path file) : file_(std::move(file)) {}
  void update(const std::string&, std::uint64_t, std::uint64_t, const std::string&) override {
    while (fs::exists(file_)) pause();
  }

 private:
  fs::path file_;
};

/// Waits until the file is there; false after a minute.
bool appears(const fs::path& file) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!fs::exists(file) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fs::exists(file);
}

/// The lines of a run's metrics up to step `last`.
std::string metrics_until(const fs::path& run, std::int64_t last) {
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (nlohmann::json::parse(line).at("step").get<std::int64_t>() <= last) kept += line + "\n";
  }
  return kept;
}

class LifeCycle : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("quiver_life_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    options_.lora.rank = 4;
    options_.lora.alpha = 8;
    options_.batch_rows = 8;
    options_.epochs = 2;
    options_.learning_rate = 1e-2;
  }
  void TearDown() override { fs::remove_all(folder_); }

  library::Library library(const std::string& name) {
    return library::Library::open_or_create(folder_ / name, "tiny", model_.fingerprint());
  }

  std::vector<training::TrainedExpert> train(const library::Library& library, std::vector<ExpertData> data) {
    SilentProgress silent;
    return training::train_experts({model_, library, options_, silent}, std::move(data));
  }

  /// Trains in another process, which is killed when `ready` returns.
  template <typename Ready>
  void train_until(Ready ready, const library::Library& library, const ExpertData& data, Progress& progress) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      at::set_num_threads(1);  // OpenMP's threads do not survive a fork
      training::train_experts({model_, library, options_, progress}, {data});
      _exit(0);
    }
    ready();
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }

  double difference(const library::Library& a, const library::Library& b, const std::string& name) {
    const auto first = a.load(name), second = b.load(name);
    double largest = 0.0;
    for (const auto& [site, f] : first.sites) {
      const auto& g = second.sites.at(site);
      largest = std::max({largest, (f.a - g.a).abs().max().item<double>(), (f.b - g.b).abs().max().item<double>()});
    }
    return largest;
  }

  model::Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  fs::path folder_;
  TrainOptions options_;
};

TEST_F(LifeCycle, TrainingTogetherGivesTheExpertsOfTrainingAlone) {
  options_.lora.dropout = 0.1;
  const auto together = library("together"), alone = library("alone");
  train(together, {echo_task("one", 1, 60), echo_task("two", 2, 35), echo_task("three", 3, 50)});
  train(alone, {echo_task("one", 1, 60)});
  train(alone, {echo_task("two", 2, 35)});
  train(alone, {echo_task("three", 3, 50)});
  for (const auto* name : {"one", "two", "three"}) EXPECT_LT(difference(together, alone, name), 1e-4) << name;
}

TEST_F(LifeCycle, PortionsOfAStepAddUpToTheStep) {
  const auto whole = library("whole");
  train(whole, {echo_task("one", 1, 40)});
  options_.micro_tokens = 7;
  const auto split = library("split");
  train(split, {echo_task("one", 1, 40)});
  EXPECT_LT(difference(whole, split, "one"), 1e-4);
}

TEST_F(LifeCycle, AnExpertThatIsThereIsNotTrainedAgainAndOneThatDiffersIsRefused) {
  const auto own = library("own");
  const auto first = train(own, {echo_task("one", 1, 40)});
  const auto second = train(own, {echo_task("one", 1, 40)});
  EXPECT_FALSE(first[0].already_there);
  EXPECT_TRUE(second[0].already_there);
  EXPECT_EQ(first[0].validation_loss, second[0].validation_loss);
  EXPECT_THROW(train(own, {echo_task("one", 1, 45)}), Error);
}

TEST_F(LifeCycle, AKilledRunResumesToTheSameWeights) {
  options_.epochs = 6;
  options_.checkpoint_seconds = 0.0;
  const auto straight = library("straight"), killed = library("killed");
  const auto task = echo_task("one", 1, 80);
  train(straight, {task});

  // One kill that surely finds a checkpoint in the middle of the run, however slow or fast the machine is.
  const auto run = killed.run_folder("one"), state = run / "checkpoint" / "state.json";
  HoldAtFile hold(state);
  train_until([&] { ASSERT_TRUE(appears(state)); }, killed, task, hold);
  ASSERT_TRUE(fs::exists(state));
  const auto step = nlohmann::json::parse(read_file(state)).at("progress").at("step").get<std::int64_t>();
  ASSERT_GE(step, 1);
  const auto before = metrics_until(run, step);

  // And some at any moment.
  SilentProgress silent;
  for (const int milliseconds : {15, 40, 70, 110}) {
    const auto wait = [&] { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
    train_until(wait, killed, task, silent);
    EXPECT_TRUE(killed.verify().empty());
  }
  const auto resumed = train(killed, {task})[0];
  EXPECT_GT(resumed.steps, step);
  EXPECT_TRUE(killed.verify().empty());
  EXPECT_LT(difference(straight, killed, "one"), 1e-5);
  EXPECT_FALSE(fs::exists(run / "checkpoint"));
  // Each line of a step holds its measured speed, which a run from the start would not measure again to the last digit.
  EXPECT_NE(before.find("tokens_per_second"), std::string::npos);
  EXPECT_EQ(metrics_until(run, step), before) << "the run began again instead of going on from its checkpoint";
}

TEST_F(LifeCycle, EarlyStoppingKeepsTheBest) {
  options_.epochs = 40;
  options_.patience = 2;
  options_.learning_rate = 0.3;  // far too much: validation soon gets worse
  const auto own = library("own");
  const auto result = train(own, {echo_task("one", 1, 40)})[0];
  EXPECT_LT(result.steps, 40 * 4);
  auto bank = std::make_shared<adapter::Bank>(model_);
  bank->add("one", own.load("one"));
  EXPECT_NEAR(training::mean_loss(model_, bank, 0, echo_task("one", 1, 40).validation), result.validation_loss, 1e-4);
}

TEST_F(LifeCycle, TwoWritersAtOnceLoseNothing) {
  const auto shared = library("shared");
  const auto adapter = adapter::make_lora(model_, options_.lora, 1);
  const auto write = [&](int from) {
    for (int i = from; i < from + 20; ++i) {
      shared.save({"expert" + std::to_string(i), {}, model_.fingerprint(), "", {}, {}, {}}, adapter, false);
    }
  };
  std::thread first(write, 0), second(write, 100);
  first.join();
  second.join();
  EXPECT_EQ(shared.names().size(), 40u);
  EXPECT_TRUE(shared.verify().empty());
  shared.remove("expert3");
  EXPECT_FALSE(shared.contains("expert3"));
  EXPECT_EQ(shared.names().size(), 39u);
}

TEST_F(LifeCycle, VerifyFindsWhatWasChanged) {
  const auto own = library("own");
  train(own, {echo_task("one", 1, 40), echo_task("two", 2, 40)});
  const auto weights = own.expert_folder("one") / "adapter_model.safetensors";
  auto bytes = read_file(weights);
  bytes[bytes.size() - 3] ^= 0x40;
  write_file_atomically(weights, bytes);
  ASSERT_EQ(own.verify().size(), 1u);
  EXPECT_EQ(own.verify()[0].substr(0, 4), "one:");
  EXPECT_THROW(own.load("one"), Error);
}

TEST_F(LifeCycle, AnotherBaseIsRefused) {
  const auto own = library("own");
  EXPECT_NO_THROW(library::check_base(own, model_.fingerprint(), false));
  EXPECT_THROW(library::check_base(own, std::string(64, '0'), false), Error);
  EXPECT_NO_THROW(library::check_base(own, std::string(64, '0'), true));
}

TEST_F(LifeCycle, ClustersArePlantedOnesAndGaugeDoesNotMatter) {
  const auto own = library("own");
  // Two families of adapters: noise around one of two centres.
  for (int i = 0; i < 6; ++i) {
    auto centre = adapter::make_lora(model_, options_.lora, static_cast<std::uint64_t>(i % 2));
    auto noise = adapter::make_lora(model_, options_.lora, static_cast<std::uint64_t>(10 + i));
    for (auto& [site, f] : centre.sites) {
      f.b = f.a.narrow(1, 0, 1).t().expand_as(f.b).contiguous() + 0.1 * noise.sites[site].a.narrow(1, 0, 1).t();
      f.a = f.a + 0.1 * noise.sites[site].a;
      f.a = f.a * (1.0 + i);  // rescaled against B: the product stays
      f.b = f.b / (1.0 + i);
    }
    own.save({"expert" + std::to_string(i), {}, model_.fingerprint(), "", {}, {}, {}}, centre, false);
  }
  clustering::MbcOptions mbc;
  mbc.k_means.clusters = 2;
  const auto result = clustering::cluster_library(own, own.names(), mbc);
  EXPECT_EQ(result.cluster, (std::vector<std::size_t>{0, 1, 0, 1, 0, 1}));
  ASSERT_TRUE(clustering::read_clustering(own).has_value());
  EXPECT_EQ(clustering::read_clustering(own)->cluster, result.cluster);
  own.remove("expert5");
  EXPECT_FALSE(clustering::read_clustering(own).has_value()) << "a clustering of other experts must not be used";
}

TEST_F(LifeCycle, AnExpertAddedLaterTouchesNothingOfTheOthersPrototypes) {
  const auto own = library("own");
  train(own, {echo_task("one", 1, 40), echo_task("two", 2, 40)});
  SilentProgress silent;
  const auto inputs = [&] {
    routing::RouterInputs out;
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (const auto& expert : own.load_experts(own.names())) {
      bank->add(expert.info.name, expert.adapter);
      out.identities.push_back(expert.info.identity);
    }
    out.bank = std::move(bank);
    out.library = std::make_shared<const library::Library>(own);
    out.progress = &silent;
    return out;
  };
  const auto two = inputs();
  const auto first = routing::library_prototypes(two);
  EXPECT_TRUE(first.flat().equal(routing::library_prototypes(two).flat()));
  EXPECT_TRUE(first.flat().equal(routing::compute_directions(*two.bank, {}, silent).flat()));
  const auto files = [&] {
    std::map<std::string, fs::file_time_type> out;
    for (const auto& entry : fs::directory_iterator(own.folder() / "derived" / "prototypes"))
      out[entry.path().filename().string()] = entry.last_write_time();
    return out;
  };
  const auto before = files();
  train(own, {echo_task("three", 3, 40)});
  EXPECT_EQ(routing::library_prototypes(inputs()).site(0).size(0), 3);
  const auto after = files();
  EXPECT_EQ(after.size(), 3u);
  for (const auto& [name, time] : before) EXPECT_EQ(after.at(name), time) << name;
}

}  // namespace
}  // namespace quiver
