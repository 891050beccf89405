// SPDX-License-Identifier: Apache-2.0
// `quiver evaluate` as a user meets it: what is left of a run that ends early, the matrix of experts and tasks.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/library/library.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"

namespace quiver {
namespace {

using nlohmann::json;

struct Outcome {
  int status = 0;
  std::vector<json> objects;
  std::string errors;
};

class EvaluateVerb : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    for (const auto* task : {"first", "second"}) model::write_small_task(path(task) + ".jsonl", task, 3);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// A library of `sound` and `broken`, under which nothing is finite.
  void make_library() const {
    const auto model = model::load_model(folder_ / "model", at::kFloat);
    const auto library = library::Library::open_or_create(folder_ / "library", "small", model.fingerprint());
    for (const std::string name : {"sound", "broken"}) {
      adapter::LoraOptions options;
      options.rank = 2;
      auto expert = adapter::make_lora(model, options, 1);
      for (auto& [site, f] : expert.sites) f.b = at::randn(f.b.sizes()) * (name == "broken" ? 1e30 : 0.1);
      library::ExpertInfo info;
      info.name = name;
      info.base_fingerprint = model.fingerprint();
      library.save(info, expert, false);
    }
  }

  Outcome evaluate(const std::string& more) const {
    const auto command = std::string(QUIVER_BINARY) + " evaluate --json --dtype float32 --threads 1 --model " +
                         path("model") + " " + more + " 2>" + path("errors.txt");
    FILE* pipe = popen(command.c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
    Outcome out{WEXITSTATUS(pclose(pipe)), {}, read_file(folder_ / "errors.txt")};
    for (const auto& line : split(text, '\n')) {
      if (!line.empty()) out.objects.push_back(json::parse(line));
    }
    return out;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_evaluate_verb_" + std::to_string(getpid()));
};

std::ptrdiff_t lines_of(const fs::path& file) {
  const auto text = read_file(file);
  return std::count(text.begin(), text.end(), '\n');
}

TEST_F(EvaluateVerb, SamplesAreThoseOfTheTasksThatWereScored) {
  const auto tasks = " --task " + path("first.jsonl") + " --task " + path("second.jsonl");
  const auto samples = " --samples " + path("samples.jsonl");
  const auto both = evaluate("--route base" + tasks + samples);
  ASSERT_EQ(both.status, 0) << both.errors;
  EXPECT_EQ(lines_of(path("samples.jsonl")), 6);
  ASSERT_EQ(evaluate("--route base --limit 1" + tasks + samples).status, 0);
  EXPECT_EQ(lines_of(path("samples.jsonl")), 2) << "those of the run before are gone";
  // The program is killed as soon as the first task's figures are read.
  const auto command = std::string(QUIVER_BINARY) + " evaluate --json --threads 1 --model " + path("model") +
                       " --route base" + tasks + samples + " 2>/dev/null";
  write_file_atomically(folder_ / "kill.sh", "mkfifo " + path("out") + "\n" + command + " >" + path("out") +
                                                 " & pid=$!\nhead -n 1 " + path("out") +
                                                 " >/dev/null\nkill -9 $pid\nwait $pid\ntrue\n");
  ASSERT_EQ(std::system(("bash " + path("kill.sh") + " 2>/dev/null").c_str()), 0);
  EXPECT_GE(lines_of(path("samples.jsonl")), 3) << "what was scored is kept";
}

TEST_F(EvaluateVerb, CellsOfTheMatrixAreMarkedAndItsFailuresSaid) {
  make_library();
  const auto got = evaluate("--library " + path("library") + " --route base --matrix --task " + path("first.jsonl"));
  EXPECT_EQ(got.status, 1);
  EXPECT_NE(got.errors.find("under expert:broken"), std::string::npos) << got.errors;
  std::vector<json> cells;
  for (const auto& object : got.objects) {
    if (object.contains("matrix")) cells.push_back(object);
  }
  ASSERT_EQ(cells.size(), 1u);
  EXPECT_EQ(cells[0]["route"], "expert:sound");
  EXPECT_EQ(cells[0]["matrix"], true);
  EXPECT_TRUE(std::any_of(got.objects.begin(), got.objects.end(), [](const auto& o) { return !o.contains("matrix"); }));
}

TEST_F(EvaluateVerb, WhatIsAskedForTwiceOrOfNothingIsRefused) {
  const auto refused = [&](const std::string& more, const std::string& part) {
    const auto got = evaluate("--task " + path("first.jsonl") + " " + more);
    EXPECT_EQ(got.status, 2) << more;
    EXPECT_NE(got.errors.find(part), std::string::npos) << got.errors;
  };
  refused("--route base --route base", "[--route] 'base' is given twice");
  refused("--route base --matrix", "give a --library or an --adapter");
  refused("--samples " + path("out") + " --report " + path("./out"), "name two files");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(EvaluateVerb, AFileCalledAfterASplitIsThatSplit) {
  std::string rows;
  for (const auto* word : {"one", "two"}) rows += json{{"source", word}, {"target", "yes"}}.dump() + "\n";
  write_file_atomically(folder_ / "birds/test.jsonl", rows);
  const auto got = evaluate("--route base --max-new-tokens 2 --task " + path("birds/test.jsonl"));
  ASSERT_EQ(got.status, 0) << got.errors;
  EXPECT_EQ(got.objects.at(0)["task"], "birds");
  const auto other = evaluate("--route base --split validation --task " + path("birds/test.jsonl"));
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.errors.find("there are test (2)"), std::string::npos) << other.errors;
}

}  // namespace
}  // namespace quiver
