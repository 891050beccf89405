// SPDX-License-Identifier: Apache-2.0
// `quiver prepare` as a user meets it: what is prepared is kept by expert and options, and computed when either is new.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>

#include "quiver/base/strings.h"
#include "quiver/library/library.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"

namespace quiver {
namespace {

using nlohmann::json;

class PrepareVerb : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    model_.emplace(model::load_model(folder_ / "model", at::kFloat));
    for (const std::string task : {"red", "green", "blue"})
      model::write_small_task(folder_ / "tasks" / (task + ".jsonl"), task);
    add("red");
    add("green");
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// A random expert of a task.
  void add(const std::string& task) const {
    adapter::LoraOptions options;
    options.rank = 2;
    library::ExpertInfo info;
    info.name = "expert-of-" + task;
    info.tasks = {task};
    info.base_fingerprint = model_->fingerprint();
    library::Library::open_or_create(folder_ / "library", "small", model_->fingerprint())
        .save(info, adapter::make_lora(*model_, options, task.size()), false);
  }
  std::string command_of(const std::string& more) const {
    return std::string(QUIVER_BINARY) + " prepare --json --threads 1 --dtype float32 --model " +
           (folder_ / "model").string() + " --library " + (folder_ / "library").string() + " --task " +
           (folder_ / "tasks").string() + " " + more + " 2>" + (folder_ / "errors.txt").string();
  }
  /// Gives the task other prompts.
  void change(const std::string& task) const {
    const auto file = folder_ / "tasks" / (task + ".jsonl");
    auto rows = read_file(file);
    replace_all(rows, "\"source\": \"", "\"source\": \"now ");
    replace_all(rows, "\"source\":\"", "\"source\":\"now ");
    write_file_atomically(file, rows);
  }
  /// How many experts each of the routes was prepared for, or null.
  std::vector<json> prepare(const std::string& more) const {
    FILE* pipe = popen(command_of(more).c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
    EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 0) << read_file(folder_ / "errors.txt");
    std::vector<json> out;
    for (const auto& line : split(trim(output), '\n')) out.push_back(json::parse(line).value("prepared", json()));
    return out;
  }
  void refused(const std::string& more, const std::string& words) const {
    const auto command = command_of(more) + " >/dev/null";
    EXPECT_NE(std::system(command.c_str()), 0) << more;
    const auto said = read_file(folder_ / "errors.txt");
    EXPECT_NE(said.find(words), std::string::npos) << more << ": " << said;
  }
  /// The bytes of every file of a kind, by name.
  std::map<std::string, std::string> derived(const std::string& kind) const {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_ / "library/derived" / kind))
      out[entry.path().filename().string()] = read_file(entry.path());
    return out;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_prepare_verb_" + std::to_string(getpid()));
  std::optional<model::Model> model_;
};

TEST_F(PrepareVerb, OtherOptionsAreComputedTheSameOnesAreNot) {
  const std::string all = "--route average-activation --route phatgoose:steps=1 --route auto";
  EXPECT_EQ(prepare(all), (std::vector<json>{2, 2, 2}));
  const auto last = derived("average-activation"), gates = derived("phatgoose"), signatures = derived("signature");
  EXPECT_EQ(last.size(), 2u);
  EXPECT_EQ(prepare(all + " --route average-activation:token=last --route ariadne --route lorauter"),
            (std::vector<json>{0, 0, 0, 0, 0, 0}))
      << "a default by its name is the same, and so are routes that share their data";
  EXPECT_EQ(derived("average-activation"), last);
  EXPECT_EQ(prepare("--limit 3 --route average-activation:token=mean --route phatgoose:steps=2 --route auto"),
            (std::vector<json>{2, 2, 2}));
  EXPECT_EQ(derived("average-activation").size(), 2u) << "in the place of those before";
  for (const auto& [name, bytes] : last) EXPECT_NE(derived("average-activation").at(name), bytes) << name;
  for (const auto& [name, bytes] : gates) EXPECT_NE(derived("phatgoose").at(name), bytes) << name;
  for (const auto& [name, bytes] : signatures) EXPECT_NE(derived("signature").at(name), bytes) << name;
  EXPECT_EQ(prepare(all), (std::vector<json>{2, 2, 2}));
  EXPECT_EQ(derived("average-activation"), last) << "and back";
}

TEST_F(PrepareVerb, ANewExpertAloneIsComputedAndAllAreWhenAsked) {
  prepare("--route average-activation --route auto");
  const auto before = derived("average-activation");
  add("blue");
  EXPECT_EQ(prepare("--route average-activation --route auto"), (std::vector<json>{1, 1}));
  const auto after = derived("average-activation");
  EXPECT_EQ(after.size(), 3u);
  for (const auto& [name, bytes] : before) EXPECT_EQ(after.at(name), bytes) << name;
  EXPECT_EQ(prepare("--again --route average-activation --route auto"), (std::vector<json>{3, 3}));
  EXPECT_EQ(derived("average-activation"), after);
  // Other rows under the same options.
  change("red");
  EXPECT_EQ(prepare("--route average-activation --route auto"), (std::vector<json>{1, 1}));
  EXPECT_NE(derived("average-activation"), after);
}

TEST_F(PrepareVerb, ExpertsWhoseTasksAreNotGivenKeepWhatTheyHave) {
  prepare("--route auto --route moa:steps=2");
  add("blue");
  const auto before = derived("signature");
  fs::rename(folder_ / "tasks", folder_ / "all");
  fs::create_directory(folder_ / "tasks");
  fs::copy(folder_ / "all/blue.jsonl", folder_ / "tasks/blue.jsonl");
  EXPECT_EQ(prepare("--route auto"), (std::vector<json>{1}));
  prepare("--route moa:steps=2");
  EXPECT_EQ(derived("moa-0-0").size(), 3u);
  const auto after = derived("signature");
  for (const auto& [name, bytes] : before) EXPECT_EQ(after.at(name), bytes) << name;
}

TEST_F(PrepareVerb, MoasStatesAreThoseOfTheRowsGivenNow) {
  const auto states = [&](const std::string& more) {
    prepare("--route moa:steps=2 " + more);
    return derived("moa-0-0");
  };
  const auto two = states("--limit 2"), six = states("--limit 6");
  EXPECT_EQ(two.size(), 2u);
  for (const auto& [name, bytes] : two) EXPECT_GT(six.at(name).size(), bytes.size()) << name;
  EXPECT_EQ(states("--limit 2"), two);
  change("red");
  const auto changed = states("--limit 2");
  EXPECT_NE(changed, two);
  fs::remove_all(folder_ / "library/derived");
  EXPECT_EQ(states("--limit 2"), changed) << "as a fresh library's";
}

TEST_F(PrepareVerb, AHandfulOfPromptsIsEnoughForAuto) {
  write_file_atomically(folder_ / "red.txt", "red 1\nred 2\nred 7\n");
  write_file_atomically(folder_ / "green.jsonl", "\"green 1\"\n\"green 2\"\n");
  fs::remove_all(folder_ / "tasks");
  fs::create_directory(folder_ / "tasks");
  model::write_small_task(folder_ / "tasks/other.jsonl", "other");
  const auto examples = " --examples expert-of-red=" + (folder_ / "red.txt").string() +
                        " --examples expert-of-green=" + (folder_ / "green.jsonl").string();
  EXPECT_EQ(prepare("--route auto" + examples), (std::vector<json>{2}));
  EXPECT_EQ(derived("signature").size(), 2u);
  EXPECT_EQ(prepare("--route auto" + examples), (std::vector<json>{0}));
}

TEST_F(PrepareVerb, RoutersThatItDidNotMakeStay) {
  const std::string mine = " --max-steps 1 --name mine";
  const auto router = folder_ / "library/routers/mine/router.json";
  prepare("--route molora" + mine);
  const auto before = read_file(router);
  refused("--route gates" + mine, "made otherwise");
  refused("--route moa --name mine", "made otherwise");
  refused("--route gates --max-steps 1 --name expert-of-red", "an expert of that name");
  EXPECT_EQ(read_file(router), before);
  prepare("--route molora --max-steps 2 --name mine");  // its route's, anew
  EXPECT_NE(read_file(router), before);
  prepare("--replace --route gates" + mine);
  prepare("--route gates" + mine);
  EXPECT_EQ(json::parse(read_file(router))["training"]["route"], "gates");
}

TEST_F(PrepareVerb, ATrainedRouterIsNotCalledAsAnotherRouteIs) {
  const auto command = std::string(QUIVER_BINARY) +
                       " train --method poly --skills 2 --rank 2 --max-steps 1 --name gates" + " --threads 1 --model " +
                       (folder_ / "model").string() + " --library " + (folder_ / "library").string() + " --task " +
                       (folder_ / "tasks").string() + " 2>" + (folder_ / "errors.txt").string() + " >/dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 2);
  const auto said = read_file(folder_ / "errors.txt");
  EXPECT_NE(said.find("that is a route already"), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(folder_ / "library/routers/gates"));
}

TEST_F(PrepareVerb, WhatARouteDoesNotReadIsRefused) {
  refused("--route arrow", "--task");
  refused("--route text --no-eos", "--no-eos");
  refused("--route auto --replace", "--replace");
  refused("--route auto --epochs 3", "--epochs");
  refused("--route text --again", "--again");
  refused("--route gates --route weights --name both", "both");
  refused("--route phatgoose:steps=0", "steps");
  refused("--route gates:depth=2", "depth");
  refused("--route weights:temperature=1", "temperature");
  refused("--route moa:width=8", "depth=2");
  refused("--route gates:temperature=0", "temperature");
  refused("--route gates --name uniform", "uniform");
  refused("--route gates --examples expert-of-red=x.txt", "--examples");
  refused("--route moa:weight_decay=nan", "weight_decay");
}

}  // namespace
}  // namespace quiver
