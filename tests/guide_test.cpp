// SPDX-License-Identifier: Apache-2.0
// The commands of docs/guide.md, run in its order on a small model and small data.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/model/test_small_model.h"

namespace quiver {
namespace {

/// The lines of the blocks of a language.
std::vector<std::string> lines_of(const std::string& language) {
  std::istringstream lines(read_file(fs::path(QUIVER_SOURCE_DIR) / "docs/guide.md"));
  std::vector<std::string> out;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      inside = line == "```" + language;
    } else if (inside) {
      out.push_back(line);
    }
  }
  return out;
}

class Guide : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("quiver_guide_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "bin");
    fs::create_symlink(QUIVER_BINARY, folder_ / "bin/quiver");
    model::write_small_model(folder_ / "model");
    for (const auto* name : {"plural", "opposite", "number"})
      model::write_small_task(folder_ / "tasks" / (std::string(name) + ".jsonl"), name, 8);
    for (const auto* name : {"plural", "opposite"}) {
      const std::string word(name);
      ASSERT_EQ(run("quiver train --library made --model model --task tasks/" + word +
                    ".jsonl --rank 2 --epochs 1 && quiver library export --library made --output adapters --replace"),
                0);
      write_file_atomically(folder_ / "prompts" / (word + ".txt"), word + " 1\n" + word + " 3\n" + word + " 5\n");
    }
    fs::remove_all(folder_ / "made");
  }
  void TearDown() override { fs::remove_all(folder_); }

  int run(const std::string& command) const {
    const auto text = "cd '" + folder_.string() +
                      "' && export PATH=\"$PWD/bin:$PATH\" MODEL=model OMP_NUM_THREADS=1 && " + command +
                      " >>out.txt 2>>errors.txt </dev/null";
    const int status = std::system(("bash -c " + quoted("set -e; " + text)).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }
  std::string errors() const { return fs::exists(folder_ / "errors.txt") ? read_file(folder_ / "errors.txt") : ""; }

  fs::path folder_;

 private:
  static std::string quoted(std::string text) {
    replace_all(text, "'", "'\\''");
    return "'" + text + "'";
  }
};

TEST_F(Guide, EveryCommandRuns) {
  const auto commands = lines_of("sh");
  ASSERT_GE(commands.size(), 10u);
  for (const auto& command : commands) ASSERT_EQ(run(command), 0) << command << "\n" << errors();
  for (const auto* made : {"lib/library.json", "trace.html", "report.html", "merged/adapter_model.safetensors",
                           "exported/plural/adapter_model.safetensors"})
    EXPECT_TRUE(fs::exists(folder_ / made)) << made;
  // The program of the page, on the library that the page made.
  const auto embed = std::string(QUIVER_EMBED) + " model lib tasks/number.jsonl 'number 3'";
  fs::remove(folder_ / "out.txt");
  ASSERT_EQ(run("quiver library remove number --library lib && " + embed), 0) << errors();
  const auto out = read_file(folder_ / "out.txt");
  EXPECT_NE(out.find("trained number"), std::string::npos) << out;
  EXPECT_NE(out.find("number under base: "), std::string::npos) << out;
}

TEST(GuideText, TheProgramIsTheExample) {
  EXPECT_EQ(join(lines_of("cpp"), "\n") + "\n", read_file(fs::path(QUIVER_SOURCE_DIR) / "examples/embed.cpp"));
}

}  // namespace
}  // namespace quiver
