// SPDX-License-Identifier: Apache-2.0
// What `quiver run` refuses of a recipe before anything runs.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/model/test_small_model.h"
#include "quiver/recipes/test_recipes.h"

namespace quiver {
namespace {

class RecipeReading : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    for (const auto* task : {"a/one", "b/two", "b/three"})
      model::write_small_task(folder_ / "data" / (std::string(task) + ".jsonl"), "word");
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// The recipe small.toml; there is no model.
  Outcome run(const std::string& more) const {
    return run_command(std::string(QUIVER_BINARY) + " run " + (folder_ / "small.toml").string() + " --data " +
                           (folder_ / "data").string() + " --output " + (folder_ / "none").string() + " --model none " +
                           more,
                       folder_);
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_recipe_reading_" + std::to_string(getpid()));
};

TEST_F(RecipeReading, RoutesThatAreNoneAreRefusedBeforeAnythingRuns) {
  const auto route = [](const std::string& name, const std::string& more) {
    return "[[route]]\nname = \"" + name + "\"\nfor = [\"private\"]\n" + more;
  };
  const std::vector<std::pair<std::string, std::string>> cases{
      {route("arow", ""), "did you mean 'arrow'"},
      {route("mine", "route = \"spectr:topk=2\"\n"), "did you mean 'top_k'"},
      {route("mine", "route = \"auto:temperature=0\"\n"), "temperature"},
      {route("mine", "route = \"merge:tees\"\n"), "did you mean 'ties'"},
      {route("phatgoose", "prepare = true\nroute = \"phatgoose:top_k=0\"\n"), "top_k"},
      {route("uniform", ""), "there are two 'uniform'"},
  };
  for (const auto& [more, words] : cases) {
    write_file_atomically(folder_ / "small.toml", small_recipe(more));
    for (const auto* dry : {"", "--dry-run"}) {
      const auto outcome = run(dry);
      EXPECT_NE(outcome.status, 0) << more;
      EXPECT_NE(outcome.errors.find(words), std::string::npos) << outcome.errors;
      EXPECT_NE(outcome.errors.find("small.toml"), std::string::npos) << outcome.errors;
      EXPECT_FALSE(fs::exists(folder_ / "none/libraries")) << more;
    }
  }
  // The same name over another library, or over the other tasks, is another row.
  write_file_atomically(folder_ / "small.toml",
                        small_recipe("[[route]]\nname = \"base\"\ntasks = \"trained\"\n[[route]]\nname = \"base\"\n"
                                     "tasks = \"left_out\"\n"));
  EXPECT_EQ(run("--dry-run").status, 0);
}

TEST_F(RecipeReading, AConstructionTurnsAFlagOff) {
  auto recipe = small_recipe("[[construction]]\nname = \"shared\"\ntrain = { rslora = false }\n");
  replace_all(recipe, "[train]\n", "[train]\nrslora = true\n");
  write_file_atomically(folder_ / "small.toml", recipe);
  const auto outcome = run("--dry-run");
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  const auto commands = split(trim(outcome.output), '\n');
  EXPECT_EQ(count(commands, "--rslora"), 2u);  // the private experts
  EXPECT_EQ(count(commands, "quiver train"), 3u);
}

TEST_F(RecipeReading, RecipesAreReadWithCare) {
  const std::string data = "[data]\ntrain = [\"a/one\"]\n";
  const auto expect = [&](const std::string& text, const std::string& more, int status, const std::string& part) {
    write_file_atomically(folder_ / "small.toml", text);
    const auto outcome = run("--dry-run " + more);
    EXPECT_EQ(outcome.status, status) << text << more;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
  };
  expect("[data\n", "", 1, "small.toml:1] expected TOML");
  expect(kRecipe, "--set train.epoch=2", 2, "unknown key 'epoch'; did you mean 'epochs'?");
  expect(kRecipe, "--set train.rank=-3", 2, "--set train.rank=-3:1: rank] '-3', expected a whole number");
  expect(kRecipe, "--set evaluate.max_new_tokens=-5", 2, "max_new_tokens");
  expect(kRecipe, "--set train.rank=true", 2, "'rank' expected a whole number");
  expect(kRecipe, "--set dtype=float", 2, "dtype");
  const auto adapt = [](const std::string& more) { return small_recipe("[[adapt]]\nfrom = \"private\"\n" + more); };
  expect(adapt("regimes = [\"private\"]\noptions = { steps = -4 }\n"), "", 2, "steps");
  expect(adapt("regimes = [\"private\"]\noptions = { start = \"shared\" }\n"), "", 2, "--start");
  expect(adapt("regimes = [\"privat\"]\n"), "", 2, "did you mean 'private'?");
  expect(adapt("regimes = [\"poly-z\"]\n"), "", 2, "nothing in the recipe trains skills of that name");
  const auto route = [](const std::string& text, const std::string& more = "") {
    return small_recipe("[[route]]\nname = \"x\"\nroute = \"" + text + "\"\nfor = [\"private\"]\n" + more);
  };
  const std::string named = "prepare = true\nprepare_route = \"gates\"\nprepare_arguments = [\"--name=mine\"]\n";
  expect(route("learned:mine,topk=2", named), "", 2, "did you mean 'top_k'");
  expect(route("gates", named), "", 2, "nothing in the recipe leaves a router 'gates'");
  expect(route("learned:mini", named), "", 2, "did you mean 'mine'");
  expect(route("poly:skills"), "", 2, "nothing in the recipe leaves a router 'skills'");
  expect(route("phatgoose"), "", 2, "nothing in the recipe prepares it");
  expect(route("uniform", "prepare_route = \"gates\"\n"), "", 2, "goes with prepare = true");
  expect(small_recipe("[[construction]]\nname = \"mbc\"\nclusters = 1\n[[route]]\nname = \"x\"\n"
                      "route = \"expert:{expert}\"\nfor = [\"mbc\"]\n"),
         "", 2, "has no expert for each task");
  const std::string clustered = "[[construction]]\nname = \"mbc\"\nclusters = 1\n";
  expect(small_recipe(clustered + "embedding = \"product\"\n"), "", 2, "expected products, mttl, prototypes, text");
  expect(small_recipe(clustered + "linkage = \"ward\"\n"), "", 2, "'linkage' is not read by mbc");
  expect(kRecipe, "--set data.rows=many", 2, "'rows' expected a whole number");
  expect(std::string(kRecipe) + "[[route]]\nname = \"x\"\nfor = [\"share\"]\n", "", 2,
         "names no [[construction]]: 'share'; did you mean 'shared'?");
  expect(data + "[[construction]]\nname = \"privat\"\n", "", 2,
         "small.toml:4] 'name' is no kind of library: 'privat'; did "
         "you mean 'private'?");
  expect(data + "[[construction]]\nname = \"private\"\nover = \"none\"\n", "", 2, "no library built before: 'none'");
  expect(data + "[[construction]]\nname = \"full\"\n[[route]]\nname = \"uniform\"\nfor = [\"full\"]\n", "", 2,
         "'route' of whole models: expected base, got 'uniform'");
  expect(data + "[[route]]\nname = \"base\"\n", "--set 'data.left_out=[\"a/ones\"]'", 1, "a/ones.jsonl");
}

/// The texts of a recipe that name tasks.
std::vector<std::string> tasks_named(const std::string& recipe) {
  std::vector<std::string> out;
  bool inside = false;
  std::string word;
  for (const char c : recipe) {
    if (c != '"') {
      word += c;
      continue;
    }
    const bool task = inside && word.find('/') != word.npos;
    if (task) out.push_back(word);
    inside = !inside;
    word.clear();
  }
  return out;
}

TEST_F(RecipeReading, TheRecipesOfTheProjectAreSound) {
  std::size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(QUIVER_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() != ".toml") continue;
    const auto tasks = tasks_named(read_file(entry.path()));
    EXPECT_GE(tasks.size(), 8u) << entry.path();
    for (const auto& task : tasks) model::write_small_task(folder_ / "data" / (task + ".jsonl"), "word");
    const auto outcome =
        run_command(std::string(QUIVER_BINARY) + " run " + entry.path().string() + " --dry-run --data " +
                        (folder_ / "data").string() + " --output " + (folder_ / "none").string(),
                    folder_);
    EXPECT_EQ(outcome.status, 0) << entry.path() << ": " << outcome.errors;
    EXPECT_GT(lines_of(folder_ / "out.txt").size(), 10u) << entry.path();
    ++seen;
  }
  EXPECT_GE(seen, 3u);
}

}  // namespace
}  // namespace quiver
