// SPDX-License-Identifier: Apache-2.0
// quiver run on a small random model: the whole grid, what is kept, what a change costs, kills, failures, dry runs.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/model/test_small_model.h"
#include "quiver/recipes/test_recipes.h"

namespace quiver {
namespace {

using nlohmann::json;

/// Of the recipe: 2 private experts, 1 clustering, 1 expert of a cluster, 1 shared; 4 routes on 3 tasks and 1 on 2.
constexpr std::size_t kTrainings = 4, kEvaluations = 14, kCells = kTrainings + 1 + kEvaluations;
/// The routes are one command each.
constexpr std::size_t kCommands = kTrainings + 1 + 5;

/// Cells by key, with the time they were written.
std::map<std::string, fs::file_time_type> cells_in(const fs::path& output) {
  std::map<std::string, fs::file_time_type> out;
  if (!fs::exists(output / "cells")) return out;
  for (const auto& entry : fs::directory_iterator(output / "cells")) {
    if (entry.path().extension() == ".json") out[entry.path().stem().string()] = entry.last_write_time();
  }
  return out;
}

class RecipeRun : public testing::Test {
 protected:
  /// Model, tasks and one finished grid, of which each test gets a copy.
  static void SetUpTestSuite() {
    shared_ = fs::temp_directory_path() / ("quiver_recipe_" + std::to_string(getpid()));
    fs::remove_all(shared_);
    model::write_small_model(shared_ / "model");
    model::write_small_task(shared_ / "data/a/one.jsonl", "red");
    model::write_small_task(shared_ / "data/b/two.jsonl", "green");
    model::write_small_task(shared_ / "data/b/three.jsonl", "blue");
    write_file_atomically(shared_ / "small.toml", kRecipe);
    first_ = run_in(shared_, shared_ / "grid", "");
  }
  static void TearDownTestSuite() { fs::remove_all(shared_); }

  void SetUp() override {
    ASSERT_EQ(first_.status, 0) << first_.errors;
    folder_ = shared_ / "test";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    for (const auto* name : {"data", "grid", "small.toml"}) {
      fs::copy(shared_ / name, folder_ / name, fs::copy_options::recursive);
    }
  }

  static std::string command(const fs::path& folder, const fs::path& output, const std::string& more) {
    return std::string(QUIVER_BINARY) + " run " + (folder / "small.toml").string() + " --data " +
           (folder / "data").string() + " --output " + output.string() + " --model " + (shared_ / "model").string() +
           " " + more;
  }
  static Outcome run_in(const fs::path& folder, const fs::path& output, const std::string& more) {
    return run_command(command(folder, output, more), folder);
  }
  Outcome run(const std::string& more = "") { return run_in(folder_, folder_ / "grid", more); }
  json results() const { return json::parse(read_file(folder_ / "grid/results.json")); }

  /// Commands run since the suite's first run.
  std::vector<std::string> new_commands() const {
    auto lines = lines_of(folder_ / "grid/commands.txt");
    lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(kCommands));
    return lines;
  }

  static fs::path shared_;
  static Outcome first_;
  fs::path folder_;
};

fs::path RecipeRun::shared_;
Outcome RecipeRun::first_;

TEST_F(RecipeRun, AGridEndsInATableAndASecondRunRunsNothing) {
  EXPECT_EQ(cells_in(folder_ / "grid").size(), kCells);
  EXPECT_EQ(lines_of(folder_ / "grid/commands.txt").size(), kCommands);
  EXPECT_EQ(first_.output, read_file(folder_ / "grid/results.md"));
  EXPECT_NE(first_.output.find("| library | method | experts | trained (2) | left out (1) |"), std::string::npos)
      << first_.output;
  EXPECT_NE(first_.output.find("| private | oracle | 2 |"), std::string::npos) << first_.output;
  EXPECT_EQ(results()["scores"].size(), kEvaluations);

  const auto before = cells_in(folder_ / "grid");
  const auto again = run();
  EXPECT_EQ(again.status, 0) << again.errors;
  EXPECT_NE(again.errors.find("0 commands run"), std::string::npos) << again.errors;
  EXPECT_EQ(again.output, first_.output);
  EXPECT_EQ(cells_in(folder_ / "grid"), before);
}

TEST_F(RecipeRun, ACommandRepeatedByHandGivesTheCell) {
  const auto scores = results()["scores"];
  std::size_t compared = 0;
  for (const auto& line : lines_of(folder_ / "grid/commands.txt")) {
    if (line.find("evaluate") == std::string::npos || line.find("--route arrow") == std::string::npos) continue;
    const auto by_hand = run_command(std::string(QUIVER_BINARY) + line.substr(line.find(' ')), folder_);
    ASSERT_EQ(by_hand.status, 0) << by_hand.errors;
    for (const auto& text : split(trim(by_hand.output), '\n')) {
      const auto row = json::parse(text);
      if (row["metric"] != "accuracy") continue;
      for (const auto& score : scores) {
        if (score["method"] != "arrow" || score["task"] != row["task"]) continue;
        EXPECT_EQ(score["value"], row["value"]);
        EXPECT_EQ(score["interval"], row["interval"]);
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 3u);
}

TEST_F(RecipeRun, AChangedTaskCostsWhatDependsOnIt) {
  const auto recipe = small_recipe(
      "[[construction]]\nname = \"mbc\"\nclusters = 1\n[[route]]\nname = \"base\"\n"
      "[[route]]\nname = \"arrow\"\nfor = [\"mbc\"]\n");
  write_file_atomically(folder_ / "small.toml", recipe);
  model::write_small_task(folder_ / "data/b/three.jsonl", "grey");
  ASSERT_EQ(run().status, 0);
  auto commands = new_commands();
  EXPECT_EQ(commands.size(), 3u);  // its row of base, uniform and arrow
  EXPECT_EQ(count(commands, "quiver evaluate"), 3u);
  EXPECT_EQ(count(commands, "three.jsonl"), 3u);
  EXPECT_EQ(count(commands, "one.jsonl") + count(commands, "two.jsonl"), 0u);

  model::write_small_task(folder_ / "data/a/one.jsonl", "black");
  ASSERT_EQ(run().status, 0);
  commands = new_commands();
  commands.erase(commands.begin(), commands.begin() + 3);
  EXPECT_EQ(count(commands, "quiver train"), 2u);  // its own expert and its cluster's, not two's
  EXPECT_EQ(count(commands, "--name two"), 0u);
  EXPECT_EQ(count(commands, "quiver cluster"), 1u);
  EXPECT_EQ(count(commands, "quiver evaluate"), 3u);
  const auto base = std::find_if(commands.begin(), commands.end(),
                                 [](const auto& line) { return line.find("--route base") != line.npos; });
  ASSERT_NE(base, commands.end());
  EXPECT_EQ(base->find("two.jsonl"), base->npos);  // the base model knows no experts: one task alone is new to it
}

TEST_F(RecipeRun, AnExpertThatIsGoneComesBackAndNothingElseRuns) {
  fs::remove_all(folder_ / "grid/libraries/private-seed1/experts/two");
  ASSERT_EQ(run().status, 0);
  const auto commands = new_commands();
  ASSERT_EQ(commands.size(), 1u);  // trained as before, it is who it was
  EXPECT_NE(commands[0].find("--name two"), std::string::npos) << commands[0];
}

TEST_F(RecipeRun, FoldersMayMoveAndThreadsMayChange) {
  write_file_atomically(folder_ / "small.toml", small_recipe());
  fs::rename(folder_ / "grid", folder_ / "moved");
  fs::rename(folder_ / "data", folder_ / "moved/data");
  fs::rename(folder_ / "small.toml", folder_ / "moved/small.toml");
  const auto same = run_in(folder_ / "moved", folder_ / "moved", "--set threads=2");
  EXPECT_NE(same.errors.find("0 commands run"), std::string::npos) << same.errors;
  const auto other = run_in(folder_ / "moved", folder_ / "moved", "--set data.test_rows=4 --dry-run");
  EXPECT_EQ(split(trim(other.output), '\n').size(), 1u) << other.output;
  EXPECT_NE(other.output.find("--limit 4"), std::string::npos) << other.output;
}

TEST_F(RecipeRun, AKilledRunGoesOn) {
  write_file_atomically(folder_ / "small.toml", small_recipe());
  fs::remove_all(folder_ / "grid");
  const auto line = "exec " + command(folder_, folder_ / "grid", ">/dev/null 2>/dev/null");
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (cells_in(folder_ / "grid").empty() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto kept = cells_in(folder_ / "grid");
  ASSERT_GE(kept.size(), 1u);
  ASSERT_LT(kept.size(), 5u);  // 2 experts, 3 scores

  const auto rest = run();
  EXPECT_EQ(rest.status, 0) << rest.errors;
  const auto all = cells_in(folder_ / "grid");
  EXPECT_EQ(all.size(), 5u);
  for (const auto& [key, time] : kept) EXPECT_EQ(all.at(key), time) << key;
  for (const auto& [key, time] : all) EXPECT_TRUE(fs::exists(shared_ / "grid/cells" / (key + ".json"))) << key;
}

TEST_F(RecipeRun, AFailingCellIsNamedAndTheOthersRun) {
  write_file_atomically(folder_ / "small.toml",
                        small_recipe("[[route]]\nname = \"odd\"\nroute = \"expert:thre\"\nfor = [\"private\"]\n"
                                     "[[route]]\nname = \"arrow\"\nfor = [\"private\"]\n"));
  const auto three = folder_ / "data/b/three.jsonl";
  write_file_atomically(three, read_file(three) + "{broken\n");
  const auto outcome = run();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.errors.find("failed: evaluate private, seed 1, odd, one"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("[expert thre] no such expert"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("failed: evaluate private, seed 1, arrow, three"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("  quiver evaluate --model"), std::string::npos) << outcome.errors;
  // uniform and arrow on the broken task, and all of the route that there is not.
  EXPECT_NE(outcome.errors.find("5 cells failed, and 0 wait"), std::string::npos) << outcome.errors;
  EXPECT_EQ(results()["failures"].size(), 5u);
  EXPECT_NE(outcome.output.find("| private | arrow | 2 |"), std::string::npos) << outcome.output;
  EXPECT_EQ(results()["scores"].size(), 4u);
  // Together, then two alone: the same error twice is not about a task, and there is no third try.
  EXPECT_EQ(count(new_commands(), "--route expert:thre"), 3u);
}

TEST_F(RecipeRun, ScoresRestOnThePreparationOfTheirRouter) {
  const auto row = [](const std::string& name, const std::string& route, const std::string& more) {
    return "[[route]]\nname = \"" + name + "\"\nroute = \"" + route +
           "\"\nfor = [\"private\"]\ntasks = \"left_out\"\n" + more;
  };
  const auto prepared = [](int steps) {
    return fmt::format(
        "prepare = true\nprepare_route = \"gates:learning_rate=0.1\"\n"
        "prepare_arguments = [\"--max-steps\", \"{}\"]\n",
        steps);
  };
  const auto run_with = [&](const std::string& rows) {
    const auto before = new_commands().size();
    write_file_atomically(folder_ / "small.toml", small_recipe(rows));
    const auto outcome = run();
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    auto commands = new_commands();
    commands.erase(commands.begin(), commands.begin() + static_cast<std::ptrdiff_t>(before));
    return commands;
  };
  const auto best = row("best", "gates:top_k=1", "");  // applies what another row prepares
  const auto first = run_with(row("gates", "gates:top_k=2", prepared(1)) + best);
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(count(first, "prepare"), 1u);
  EXPECT_EQ(count(first, "--route gates:learning_rate=0.1"), 1u);
  EXPECT_EQ(count(first, "--route gates:top_k=2"), 1u);
  EXPECT_EQ(run_with(row("gates", "gates:top_k=2", prepared(1)) + best).size(), 0u);

  const auto longer = run_with(row("gates", "gates:top_k=2", prepared(7)) + best);
  EXPECT_EQ(longer.size(), 3u);
  EXPECT_EQ(count(longer, "--max-steps 7"), 1u);

  // Both at once: each is asked anew of the router that it is of.
  const auto both = run_with(row("long", "gates:top_k=1,temperature=2", prepared(7)) +
                             row("short", "gates:top_k=1,temperature=2", prepared(1)) +
                             row("short, best", "gates:top_k=1,temperature=3", ""));
  ASSERT_EQ(both.size(), 5u);
  EXPECT_NE(both[0].find("--max-steps 7"), std::string::npos) << both[0];
  EXPECT_NE(both[2].find("--max-steps 1"), std::string::npos) << both[2];
  EXPECT_EQ(count({both[1], both[3], both[4]}, "evaluate"), 3u);
}

TEST_F(RecipeRun, ResultsOfAMethodsEarlierVersionAreNotItsOwn) {
  write_file_atomically(folder_ / "small.toml", small_recipe());
  std::size_t versioned = 0;
  for (const auto& [key, time] : cells_in(folder_ / "grid")) {
    const auto cell = json::parse(read_file(folder_ / "grid/cells" / (key + ".json")));
    const auto& methods = cell["depends"]["methods"];
    ASSERT_TRUE(methods.is_object()) << cell["label"];
    versioned += methods.contains("evaluate");
    EXPECT_TRUE(!methods.contains("train") || methods.contains("train lora")) << methods;
    EXPECT_TRUE(!methods.contains("cluster") || methods.contains("cluster mbc")) << methods;
  }
  EXPECT_EQ(versioned, kEvaluations);
}

TEST_F(RecipeRun, WhatWaitsForAFailedCellIsCounted) {
  write_file_atomically(folder_ / "small.toml", small_recipe("[[route]]\nname = \"base\"\n"));
  auto text = read_file(folder_ / "data/a/one.jsonl");  // without training rows
  for (std::size_t at = 0; (at = text.find("\"train\"", at)) != std::string::npos;) text.replace(at, 7, "\"test\"");
  write_file_atomically(folder_ / "data/a/one.jsonl", text);
  const auto outcome = run();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.errors.find("failed: train private, seed 1, one"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("1 cells failed, and 3 wait"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.output.find("|  | base |  |"), std::string::npos) << outcome.output;
}

TEST_F(RecipeRun, ADryRunPrintsTheCommandsAndLeavesNothing) {
  const auto outcome = run_in(folder_, folder_ / "none", "--dry-run");
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  const auto commands = split(trim(outcome.output), '\n');
  EXPECT_EQ(commands.size(), kCommands);
  EXPECT_EQ(count(commands, "quiver "), kCommands);
  EXPECT_NE(outcome.errors.find(fmt::format("0 of {} cells", kCells)), std::string::npos) << outcome.errors;
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

json mean_of(const json& results, const char* method) {
  for (const auto& mean : results["means"]) {
    if (mean["method"] == method && mean["group"] == "trained") return mean;
  }
  return {};
}

/// The scores of the uniform route on the two trained tasks.
std::vector<json> uniform_scores(const json& results, int seed) {
  std::vector<json> out;
  for (const auto& s : results["scores"]) {
    if (s["method"] == "uniform" && s["group"] == "trained" && s["seed"] == seed) out.push_back(s);
  }
  return out;
}

double number(const json& value) { return value.get<double>(); }

TEST_F(RecipeRun, OneSeedIsAsSureAsItsTasks) {
  const auto scores = uniform_scores(results(), 1);
  ASSERT_EQ(scores.size(), 2u);
  const auto distance = [&](const json& s) { return number(s["interval"][1]) - number(s["value"]); };
  const auto mean = mean_of(results(), "uniform");
  const double middle = (number(scores[0]["value"]) + number(scores[1]["value"])) / 2;
  EXPECT_NEAR(number(mean["mean"]), middle, 1e-12);
  EXPECT_NEAR(number(mean["interval"][1]), middle + std::hypot(distance(scores[0]), distance(scores[1])) / 2, 1e-12);
  EXPECT_GT(number(mean["standard_error"]), 0);
}

TEST_F(RecipeRun, SeveralSeedsAreAsSureAsTheyAgree) {
  write_file_atomically(folder_ / "small.toml", small_recipe("[[route]]\nname = \"base\"\n"));
  const auto one_seed = results();
  ASSERT_EQ(run("--set seeds=[1,2] --set train.learning_rate=0.1").status, 0);
  const auto two_seeds = results();
  const auto first = uniform_scores(two_seeds, 1), second = uniform_scores(two_seeds, 2);
  ASSERT_EQ(first.size(), 2u);
  ASSERT_EQ(second.size(), 2u);
  const double a = (number(first[0]["value"]) + number(first[1]["value"])) / 2;
  const double b = (number(second[0]["value"]) + number(second[1]["value"])) / 2;
  ASSERT_NE(a, b);
  const auto mean = mean_of(two_seeds, "uniform");
  EXPECT_NEAR(number(mean["mean"]), (a + b) / 2, 1e-12);
  EXPECT_NEAR(number(mean["standard_error"]), std::abs(a - b) / 2, 1e-12);  // s / sqrt(2) of two numbers
  EXPECT_NEAR(number(mean["interval"][1]), (a + b) / 2 + 12.7062 * std::abs(a - b) / 2, 1e-9);
  // The base model is applied once, whatever the seeds.
  EXPECT_EQ(mean_of(two_seeds, "base"), mean_of(one_seed, "base"));
}

TEST_F(RecipeRun, AnAdaptationIsScoredByItsRegime) {
  write_file_atomically(
      folder_ / "small.toml",
      small_recipe("[[construction]]\nname = \"poly\"\nkind = \"skills\"\n"
                   "arguments = [\"--method\", \"poly\", \"--skills\", \"2\"]\n"
                   "[[adapt]]\nfrom = \"private\"\nregimes = [\"private\"]\nshots = [4]\nseeds = [1, 2]\n"
                   "options = { rank = 2, steps = 20, learning_rate = 0.1 }\n"
                   "[[adapt]]\nfrom = \"poly\"\nregimes = [\"poly-z\"]\nshots = [4]\nseeds = [1]\n"
                   "options = { skills = \"poly\", steps = 2 }\n"));
  const auto outcome = run();
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto commands = new_commands();
  EXPECT_EQ(count(commands, "quiver adapt"), 3u);
  const auto scores = results()["scores"];
  std::size_t compared = 0, unlike_base = 0;
  for (const auto& [key, time] : cells_in(folder_ / "grid")) {
    const auto cell = json::parse(read_file(folder_ / "grid/cells" / (key + ".json")));
    if (cell["label"].get<std::string>().find("adapt private, seed 1, private") != 0) continue;
    double base = -1;
    for (const auto& line : cell["lines"]) {
      if (line["regime"] == "zero-shot" && line.contains("value")) base = number(line["value"]);
      if (line["regime"] != "private" || !line.contains("value")) continue;
      for (const auto& score : scores) {
        if (score["method"] != "private" || score["seed"] != line["seed"]) continue;
        EXPECT_EQ(score["value"], line["value"]);
        EXPECT_TRUE(score["interval"][0].is_null());
        ++compared;
        unlike_base += number(line["value"]) != base;
      }
    }
  }
  EXPECT_EQ(compared, 2u);
  EXPECT_GE(unlike_base, 1u);  // else taking the base model's line would go unseen
  // Two seeds have an interval; one has none.
  const auto row = [&](const std::string& start) {
    const auto at = outcome.output.find(start);
    return at == std::string::npos ? "" : outcome.output.substr(at, outcome.output.find('\n', at) - at);
  };
  EXPECT_NE(row("| private | private | 2 |").find("±"), std::string::npos) << outcome.output;
  EXPECT_NE(row("| poly | poly-z |  |").find("| poly | poly-z |  |"), std::string::npos) << outcome.output;
  EXPECT_EQ(row("| poly | poly-z |  |").find("±"), std::string::npos) << outcome.output;
}

TEST_F(RecipeRun, TargetsStandOverOtherExpertsAndBesideWholeModels) {
  const auto recipe = small_recipe(R"(
[[construction]]
name = "target"
kind = "private"
tasks = "left_out"
over = "private"
rows = 4
arguments = ["--init-from", "{over}/experts/one"]
[[construction]]
name = "full"
tasks = "left_out"
[[route]]
name = "own"
route = "expert:{expert}"
for = ["private", "target"]
[[route]]
name = "whole"
route = "base"
for = ["full"]
)");
  write_file_atomically(folder_ / "small.toml", recipe);
  const auto outcome = run();
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto commands = new_commands();
  EXPECT_EQ(count(commands, "--name target.three --limit 4"), 1u);
  EXPECT_EQ(count(commands, "libraries/private-seed1/experts/one"), 1u);
  EXPECT_EQ(count(commands, "--route expert:target.three"), 1u);
  EXPECT_TRUE(fs::exists(folder_ / "grid/models/full-seed1/three/model.safetensors"));
  std::map<std::string, std::size_t> scores;
  const auto all = results();
  for (const auto& score : all["scores"]) ++scores[score["library"].get<std::string>()];
  EXPECT_EQ(scores["target"], 1u);
  EXPECT_EQ(scores["full"], 1u);
  EXPECT_EQ(scores["private"], 3u + 2u);  // uniform on all tasks, each task's own expert
  EXPECT_EQ(run().status, 0);
  EXPECT_EQ(new_commands(), commands);

  // What a target started from is part of what it is.
  EXPECT_EQ(run("--set train.epochs=2").status, 0);
  EXPECT_EQ(count(new_commands(), "--name target.three"), 2u);
}

}  // namespace
}  // namespace quiver
