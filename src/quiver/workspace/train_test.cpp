// SPDX-License-Identifier: Apache-2.0
// Training as a user asks for it: what is refused, and that it is refused before anything is trained; what is kept.
#include "quiver/workspace/train.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/base/error.h"
#include "quiver/library/collection.h"
#include "quiver/model/test_small_model.h"
#include "quiver/routing/saved_router.h"

namespace quiver::workspace {
namespace {

using training::Learned;

/// Keeps what is said.
class Said : public SilentProgress {
 public:
  void say(const std::string& line) override { lines.push_back(line); }
  std::vector<std::string> lines;
};

class TrainJobs : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    for (const std::string task : {"red", "green"})
      model::write_small_task(folder_ / "tasks" / (task + ".jsonl"), task);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write_task(const std::string& file, const std::string& task, const std::string& split, double weight = 1.0) {
    std::string text;
    for (int i = 0; i < 4; ++i) {
      const nlohmann::json row{{"task", task},
                               {"split", split},
                               {"weight", weight},
                               {"source", "count " + std::to_string(i)},
                               {"target", "yes"}};
      text += row.dump() + "\n";
    }
    const auto path = folder_ / "tasks" / file;
    const auto before = fs::exists(path) ? read_file(path) : "";
    write_file_atomically(path, before + text);
  }

  /// Trains with these options (name, value) into the library, three steps of two rows unless they say otherwise.
  std::vector<Learned> train(const std::vector<std::pair<std::string, std::string>>& options, bool model_only = false,
                             const std::string& tasks = "tasks") {
    TrainJob job;
    job.model.model = (folder_ / "model").string();
    job.model.dtype = "float32";
    job.tasks.paths = {(folder_ / tasks).string()};
    if (!model_only) job.set.assign("library", (folder_ / "library").string(), "test");
    for (const auto& [name, value] : options) {
      if (name == "method") {
        job.options.method = value;
      } else if (name == "rules") {
        job.join.rules = value;
      } else if (job.set.find(name) == nullptr) {
        job.settings.emplace_back(name, value);
      } else {
        job.set.assign(name, value, "test");
      }
    }
    if (!job.set.given("max_steps")) job.set.assign("max_steps", "3", "test");
    if (!job.set.given("batch")) job.set.assign("batch", "2", "test");
    std::vector<Learned> out;
    workspace::train(job, said_, [&](const Learned& learned) { out.push_back(learned); });
    return out;
  }
  std::string refusal(const std::vector<std::pair<std::string, std::string>>& options, bool model_only = false) {
    try {
      train(options, model_only);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  bool trained_nothing() const {
    return !fs::exists(folder_ / "library/experts") || fs::is_empty(folder_ / "library/experts");
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_train_jobs_" + std::to_string(getpid()));
  Said said_;
};

TEST_F(TrainJobs, EachMethodIsTrainedAndThenAlreadyThere) {
  const std::vector<std::vector<std::pair<std::string, std::string>>> jobs{
      {{"name", "e"}, {"rank", "2"}},
      {{"method", "poly"}, {"skills", "2"}, {"rank", "2"}},
      {{"method", "mpt"}, {"name", "m"}, {"prompt_tokens", "2"}},
      {{"method", "adamix"}, {"name", "a"}, {"rank", "2"}, {"copies", "2"}},
      {{"method", "fusion"}, {"name", "f"}, {"sources", "e"}}};
  for (const auto& job : jobs) {
    const auto first = train(job), second = train(job);
    ASSERT_EQ(first.size(), 1u);
    ASSERT_EQ(second.size(), 1u);
    EXPECT_FALSE(first[0].already_there);
    EXPECT_TRUE(second[0].already_there) << first[0].name;
    EXPECT_EQ(first[0].figures.steps, 3);
    EXPECT_EQ(second[0].figures.steps, 3);
    auto other = job;
    other.emplace_back("seed", "5");
    EXPECT_NE(refusal(other), "") << "trained otherwise, the name is taken";
    other.emplace_back("replace", "true");
    EXPECT_EQ(refusal(other), "");
    EXPECT_TRUE(fs::exists(folder_ / "library/runs" / first[0].name / "metrics.jsonl"));
    EXPECT_FALSE(fs::exists(folder_ / "library/runs" / first[0].name / "checkpoint"));
  }
}

TEST_F(TrainJobs, ATaskWhoseRowsWeighNothingMakesNoExpert) {
  write_task("nothing.jsonl", "nothing", "train", 0.0);
  for (const auto& learned : train({{"rank", "2"}})) EXPECT_NE(learned.name, "nothing");
  for (const auto* task : {"red", "green"}) fs::remove(folder_ / "tasks" / (std::string(task) + ".jsonl"));
  EXPECT_NE(refusal({{"rank", "2"}}).find("all 4 training rows have weight 0"), std::string::npos);
}

TEST_F(TrainJobs, AGradientThatOverflowsEndsTheRun) {
  EXPECT_NE(refusal({{"name", "e"}, {"alpha", "1e39"}}).find("norm of the gradient"), std::string::npos);
  EXPECT_TRUE(trained_nothing());
}

TEST_F(TrainJobs, WhatIsNotReadIsRefusedFirst) {
  for (const auto& [options, word] :
       std::vector<std::pair<std::vector<std::pair<std::string, std::string>>, std::string>>{
           {{{"equal_tasks", "true"}}, "--equal-tasks"},
           {{{"bottleneck_width", "4"}}, "--bottleneck-width"},
           {{{"method", "poly"}, {"learning_rate", "0.1"}, {"skill_learning_rate", "0.1"}}, "--learning-rate"},
           {{{"method", "poly"}, {"clusters", "somewhere"}}, "--clusters"},
           {{{"method", "mpt"}, {"rank", "4"}}, "--rank"},
           {{{"output", "somewhere"}}, "--output"},
           {{{"method", "adamix"}, {"copy", "2"}}, "copy"},
           {{{"patience", "2"}}, "--patience"},
           {{{"validation_limit", "2"}}, "--validation-limit"}}) {
    const auto message = refusal(options);
    EXPECT_NE(message.find(word), std::string::npos) << word << ": " << message;
    EXPECT_TRUE(trained_nothing()) << word;
  }
  EXPECT_NE(refusal({{"method", "full"}, {"recompute", "true"}, {"output", "x"}}, true).find("--recompute"),
            std::string::npos);
}

TEST_F(TrainJobs, TasksWithoutTrainingRowsArePassedOverWithAWord) {
  write_task("blue.jsonl", "blue", "test");
  const auto learned = train({{"rank", "2"}});
  ASSERT_EQ(learned.size(), 2u);
  ASSERT_FALSE(said_.lines.empty());
  EXPECT_NE(said_.lines[0].find("'blue'"), std::string::npos);
}

TEST_F(TrainJobs, NamesOfTasksAreMadeFitAndTwoOfOneNameAreRefused) {
  write_task("a.jsonl", "glue/mnli:2.0", "train");
  const auto learned = train({{"rank", "2"}});
  ASSERT_EQ(learned.size(), 3u);
  EXPECT_EQ(std::count_if(learned.begin(), learned.end(), [](const auto& l) { return l.name == "glue-mnli_2.0"; }), 1);
  write_task("b.jsonl", "glue-mnli_2.0", "train");
  EXPECT_NE(refusal({{"rank", "4"}}).find("glue-mnli_2.0"), std::string::npos);
  fs::remove(folder_ / "tasks/b.jsonl");
  write_task("c.jsonl", "../out", "train");
  EXPECT_NE(refusal({{"rank", "4"}}).find("../out"), std::string::npos);
}

TEST_F(TrainJobs, TasksThatWouldMakeOneExpertTwiceAreRefused) {
  write_task("a.jsonl", "a b", "train");
  write_task("b.jsonl", "a_b", "train");
  ASSERT_EQ(library::fit_name("a b"), library::fit_name("a_b"));
  for (const std::string method : {"moa", "poly"}) {
    std::vector<std::pair<std::string, std::string>> options{{"method", method}, {"rank", "2"}, {"replace", "true"}};
    if (method == "poly") options.emplace_back("fold", "true");
    const auto message = refusal(options);
    EXPECT_NE(message.find("two tasks would make one of that name"), std::string::npos) << method << ": " << message;
    EXPECT_TRUE(trained_nothing()) << method;
  }
}

TEST_F(TrainJobs, TextsAreJoinedAsWhatTrainingGoesOnFromWas) {
  const auto from = train({{"rank", "2"}, {"name", "first"}, {"rules", "mttl"}})[0].path.string();
  const auto join_of = [&](const nlohmann::json& training) { return training.at("options").at("join"); };
  const auto library = library::Library::open(folder_ / "library");
  const auto expected = join_of(library.info("first").training);
  said_.lines.clear();
  train({{"init_from", from}, {"name", "second"}});
  EXPECT_EQ(join_of(library.info("second").training), expected);
  train({{"method", "fusion"}, {"sources", "first"}, {"name", "f"}});
  EXPECT_EQ(join_of(routing::read_router(library, "f").training), expected);
  EXPECT_TRUE(said_.lines.empty());
  train({{"init_from", from}, {"name", "third"}, {"rules", "quiver"}});
  EXPECT_NE(join_of(library.info("third").training), expected);
  ASSERT_EQ(said_.lines.size(), 1u);
  EXPECT_NE(said_.lines[0].find("not joined as"), std::string::npos) << said_.lines[0];
}

TEST_F(TrainJobs, RowsLeaveRoomForTheVectorsOfWhatTrainingGoesOnFrom) {
  const auto prompt = train({{"kind", "prompt"}, {"prompt_tokens", "30"}, {"name", "p"}})[0].path.string();
  std::string text = "count";
  for (int i = 0; i < 600; ++i) text += " red";  // longer than the context of 512
  const nlohmann::json row{{"task", "long"}, {"split", "train"}, {"source", text}, {"target", "yes"}};
  write_file_atomically(folder_ / "long/long.jsonl", row.dump() + "\n");
  const auto longest = [](const nlohmann::json& training) {
    return training.at("options").at("join").at("max_tokens").get<int>();
  };
  train({{"init_from", prompt}, {"name", "q"}}, false, "long");
  const auto library = library::Library::open(folder_ / "library");
  EXPECT_EQ(longest(library.info("q").training), 512 - 30);
  train({{"method", "attempt"}, {"sources", "p"}, {"name", "a"}}, false, "long");
  EXPECT_EQ(longest(routing::read_router(library, "a").training), 512 - 30);
  train({{"method", "pemt-source"}, {"rank", "2"}, {"prompt_tokens", "3"}, {"name", "s"}});
  train({{"method", "pemt"}, {"sources", "s"}, {"prompt_text", "red green red green red green"}, {"name", "t"}}, false,
        "long");
  const auto ids = longest(routing::read_router(library, "t").training);
  EXPECT_LT(ids, 512);
  EXPECT_NE(ids, 512 - 20) << "the prompt is as long as its text";
  EXPECT_NE(refusal({{"method", "pemt"}, {"sources", "s"}, {"prompt_text", "red"}, {"prompt_tokens", "4"}})
                .find("--prompt-text"),
            std::string::npos);
}

TEST_F(TrainJobs, ANameThatIsTakenIsRefusedBeforeTheOthersAreTrained) {
  train({{"rank", "2"}, {"name", "red"}});
  EXPECT_NE(refusal({{"rank", "2"}}).find("red"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_ / "library/experts/green"));
}

TEST_F(TrainJobs, OneThatFailsDoesNotLoseTheOthers) {
  write_task("blue.jsonl", "blue", "train");
  train({{"rank", "2"}, {"name", "keep"}});
  // A checkpoint of another run is refused when its expert's turn comes.
  write_file_atomically(folder_ / "library/runs/blue/checkpoint/state.json",
                        R"({"format": 2, "key": "other", "progress": {}})");
  EXPECT_NE(refusal({{"rank", "2"}}).find("blue"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder_ / "library/experts/red"));
  EXPECT_TRUE(fs::exists(folder_ / "library/experts/green"));
  EXPECT_TRUE(fs::exists(folder_ / "library/runs/blue/checkpoint/state.json"));
}

TEST_F(TrainJobs, ARunWithALowerRateFollowsOneThatCameToNoNumbers) {
  for (const std::string together : {"false", "true"}) {
    const auto options = [&](const std::string& rate) {
      return std::vector<std::pair<std::string, std::string>>{
          {"rank", "2"},          {"max_steps", "6"},      {"checkpoint_seconds", "0"},
          {"together", together}, {"learning_rate", rate}, {"warmup", "0"}};
    };
    said_.lines.clear();
    EXPECT_NE(refusal(options("1e30")).find("2 of 2 failed, as said above"), std::string::npos) << together;
    ASSERT_EQ(said_.lines.size(), 2u);
    EXPECT_NE(said_.lines[0].find("lower --learning-rate"), std::string::npos) << said_.lines[0];
    EXPECT_EQ(refusal(options("1e-3")), "") << together;
    fs::remove_all(folder_ / "library");
  }
}

TEST_F(TrainJobs, AStartThatIsKeptIsSaid) {
  write_task("red.jsonl", "red", "validation");
  const auto learned = train({{"learning_rate", "50"}, {"validate_every", "1"}, {"name", "e"}, {"rank", "2"}});
  EXPECT_EQ(learned[0].figures.best_step, 0);
  ASSERT_FALSE(said_.lines.empty());
  EXPECT_NE(said_.lines.back().find("no better"), std::string::npos);
  EXPECT_EQ(training::to_json(learned[0]).at("best_step"), 0);
}

TEST_F(TrainJobs, AModelIsNotOverwritten) {
  const auto output = (folder_ / "trained").string(), base = (folder_ / "model").string();
  EXPECT_FALSE(train({{"method", "full"}, {"output", output}}, true)[0].already_there);
  EXPECT_TRUE(train({{"method", "full"}, {"output", output}}, true)[0].already_there);
  const auto before = read_file(folder_ / "trained/model.safetensors");
  EXPECT_NE(refusal({{"method", "full"}, {"output", output}, {"seed", "4"}}, true), "");
  EXPECT_EQ(read_file(folder_ / "trained/model.safetensors"), before);
  write_file_atomically(folder_ / "trained/notes.txt", "mine");
  EXPECT_EQ(refusal({{"method", "full"}, {"output", output}, {"seed", "4"}, {"replace", "true"}}, true), "");
  EXPECT_NE(read_file(folder_ / "trained/model.safetensors"), before);
  EXPECT_EQ(read_file(folder_ / "trained/notes.txt"), "mine");
  const auto weights = read_file(folder_ / "model/model.safetensors");
  EXPECT_NE(refusal({{"method", "full"}, {"output", base}, {"replace", "true"}}, true), "");
  EXPECT_EQ(read_file(folder_ / "model/model.safetensors"), weights);
}

TEST_F(TrainJobs, GoingOnFromAnAdapterTakesItsShapeAndTheDropoutThatIsGiven) {
  const auto first = train({{"rank", "2"}, {"name", "first"}});
  const auto from = first[0].path.string();
  train({{"init_from", from}, {"dropout", "0.5"}, {"name", "second"}});
  const auto options = library::Library::open(folder_ / "library").info("second").training.at("options");
  EXPECT_EQ(options.at("rank"), 2);
  EXPECT_EQ(options.at("dropout"), 0.5);
  for (const auto* option : {"rank", "alpha", "targets", "init", "kind"}) {
    const auto message =
        refusal({{"init_from", from}, {option, *option == 'r' || *option == 'a' ? "4" : "lora"}, {"name", "third"}});
    EXPECT_NE(message, "") << option;
  }
}

}  // namespace
}  // namespace quiver::workspace
