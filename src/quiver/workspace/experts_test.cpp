// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/experts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <optional>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"
#include "quiver/workspace/example_prompts.h"

namespace quiver::workspace {
namespace {

using Names = std::vector<std::string>;

/// Keeps what is said.
class Listener : public SilentProgress {
 public:
  void say(const std::string& line) override { said.push_back(line); }
  Names said;
};

class Experts : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    model_.emplace(model::load_model(folder_ / "model", at::kFloat));
  }
  void TearDown() override { fs::remove_all(folder_); }

  adapter::Adapter adapter_of(std::uint64_t seed) const {
    adapter::LoraOptions options;
    options.rank = 2;
    options.targets = {"q_proj"};
    return adapter::make_lora(*model_, options, seed);
  }
  void add(const std::string& name, const Names& tasks) const {
    library::ExpertInfo info;
    info.name = name;
    info.tasks = tasks;
    info.base_fingerprint = model_->fingerprint();
    library::Library::open_or_create(folder_ / "library", "small", model_->fingerprint())
        .save(info, adapter_of(name.size()), false);
  }
  std::string write(const std::string& name, const adapter::Adapter& adapter) const {
    fs::create_directories(folder_ / name);
    adapter::write_peft(folder_ / name, adapter, "small");
    return (folder_ / name).string();
  }
  ExpertSet loaded(const ExpertOptions& options) { return load_experts(options, *model_, listener_); }
  ExpertOptions of_library(Names experts = {}) const {
    ExpertOptions out;
    out.library = (folder_ / "library").string();
    out.experts = std::move(experts);
    return out;
  }
  static void expect_refused(const std::string& words, const std::function<void()>& action) {
    try {
      action();
      FAIL() << words;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_experts_" + std::to_string(getpid()));
  std::optional<model::Model> model_;
  Listener listener_;
};

TEST_F(Experts, AdaptersAreNamedAfterTheirFoldersOrAsTheUserSays) {
  ExpertOptions options;
  options.adapters = {write("run1/checkpoint-500", adapter_of(1)) + "/", write("lr=1e-4,r=8", adapter_of(2)),
                      "second=" + write("run2/checkpoint-500", adapter_of(3))};
  const auto set = loaded(options);
  EXPECT_EQ(set.names(), (Names{"checkpoint-500", "lr=1e-4,r=8", "second"}));
  EXPECT_NO_THROW(make_router("expert:lr=1e-4,r=8", set));
  options.adapters.back() = write("run2/checkpoint-500", adapter_of(3));
  expect_refused("--adapter NAME=", [&] { loaded(options); });
  add("second", {});
  auto both = of_library();
  both.adapters = {"second=" + options.adapters[0]};
  expect_refused("'second'", [&] { loaded(both); });
  both.adapters = {"a b=" + options.adapters[0]};
  expect_refused("a b", [&] { loaded(both); });
}

TEST_F(Experts, OneGivenTwiceIsRefused) {
  add("alpha", {});
  add("beta", {});
  expect_refused("'alpha' is given twice", [&] { loaded(of_library({"alpha", "alpha", "beta"})); });
  ExpertOptions without;
  without.experts = {"alpha"};
  expect_refused("--library", [&] { loaded(without); });
}

TEST_F(Experts, OneOfUnknownTasksStandsForTheTaskOfItsName) {
  add("rte", {});
  add("trained", {"cola", "mnli"});
  const auto set = loaded(of_library());
  EXPECT_EQ(set.inputs.expert_tasks, (std::vector<Names>{{"rte"}, {"cola", "mnli"}}));
}

TEST_F(Experts, AnAdapterOfNumbersThatAreNoneIsNamed) {
  auto sick = adapter_of(1);
  sick.sites.begin()->second.a.fill_(std::nanf(""));
  ExpertOptions options;
  options.adapters = {write("well", adapter_of(2)), write("sick", sick)};
  expect_refused("sick", [&] { loaded(options); });
}

TEST_F(Experts, WhatIsPassedOverAndWhyTheDefaultRouteIsNotAutoAreSaid) {
  for (const auto* name : {"alpha", "beta", "gamma"}) add(name, {});
  fs::create_directory(folder_ / "library/experts/@eaDir");
  auto set = loaded(of_library());
  ASSERT_EQ(listener_.said.size(), 1u);
  EXPECT_NE(listener_.said[0].find("@eaDir"), std::string::npos) << listener_.said[0];
  listener_.said.clear();
  EXPECT_EQ(natural_route(of_library(), set), "arrow");
  EXPECT_EQ(listener_.said, Names{}) << "nobody prepared it";
}

TEST_F(Experts, ExamplePromptsTakeThePlaceOfTasks) {
  add("alpha", {"rte"});
  add("beta", {});
  add("gamma", {});
  auto set = loaded(of_library());
  write_file_atomically(folder_ / "alpha.txt", "one prompt\r\n\n  \nanother, with a \"quote\"\n");
  write_file_atomically(folder_ / "beta.jsonl",
                        "\"of two\\nlines\"\n{\"prompt\": \"p\"}\n{\"source\": \"s\", \"x\": 1}\n");
  const auto file = [&](const char* name) { return (folder_ / name).string(); };
  const auto tasks = read_example_prompts({"alpha=" + file("alpha.txt"), "beta=" + file("beta.jsonl")}, set);
  ASSERT_EQ(tasks.size(), 2u);
  ASSERT_EQ(tasks[0].examples.size(), 2u);
  EXPECT_EQ(tasks[0].examples[0].source, "one prompt");
  ASSERT_EQ(tasks[1].examples.size(), 3u);
  EXPECT_EQ(tasks[1].examples[0].source, "of two\nlines");
  EXPECT_EQ(set.inputs.expert_tasks, (std::vector<Names>{{tasks[0].name}, {tasks[1].name}, {"gamma"}}));
  write_file_atomically(folder_ / "none.txt", "\n\n");
  write_file_atomically(folder_ / "bad.jsonl", "{\"answer\": 1}\n");
  const auto read = [&](const Names& given) { return [&, given] { read_example_prompts(given, set); }; };
  expect_refused("no prompt", read({"alpha=" + file("none.txt")}));
  expect_refused("bad.jsonl:1] key 'source'", read({"alpha=" + file("bad.jsonl")}));
  write_file_atomically(folder_ / "list.JSON", "[\"one\",\n {\"prompt\": \"two\"}]\n");
  write_file_atomically(folder_ / "lines.ndjson", "\"one\"\n\n\"two\"\n");
  for (const auto* name : {"list.JSON", "lines.ndjson"}) {
    const auto rows = read_example_prompts({"alpha=" + file(name)}, set)[0].examples;
    ASSERT_EQ(rows.size(), 2u) << name;
    EXPECT_EQ(rows[1].source, "two") << name;
  }
  write_file_atomically(folder_ / "deep.jsonl", std::string(2000000, '['));
  expect_refused("nested at most", read({"alpha=" + file("deep.jsonl")}));
  expect_refused("did you mean 'alpha'", read({"alpah=" + file("alpha.txt")}));
  expect_refused("twice", read({"alpha=" + file("alpha.txt"), "alpha=" + file("alpha.txt")}));
  expect_refused("NAME=FILE", read({file("alpha.txt")}));
  expect_refused("no such file", read({"alpha=" + file("missing.txt")}));
}

}  // namespace
}  // namespace quiver::workspace
