// SPDX-License-Identifier: Apache-2.0
// A small recipe and the program's runs, for the tests of `quiver run`.
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/base/strings.h"

namespace quiver {

inline const char* const kRecipe = R"(
title = "A small grid"
threads = 1
dtype = "float32"
[data]
train = ["a/one", "b/two"]
left_out = ["b/three"]
rows_per_task = 2
test_rows = 6
[train]
rank = 2
epochs = 1
batch = 4
[[construction]]
name = "private"
[[construction]]
name = "mbc"
clusters = 1
[[construction]]
name = "shared"
[[route]]
name = "base"
[[route]]
name = "uniform"
for = ["private"]
[[route]]
name = "oracle"
for = ["private"]
tasks = "trained"
[[route]]
name = "arrow"
for = ["mbc"]
[[route]]
name = "shared"
route = "expert:shared"
for = ["shared"]
)";
/// The head of the recipe, and one route over the private experts: its cells are the grid's own.
inline std::string small_recipe(const std::string& more = "") {
  const std::string all = kRecipe;
  return all.substr(0, all.find("[[construction]]")) +
         "[[construction]]\nname = \"private\"\n[[route]]\nname = \"uniform\"\nfor = [\"private\"]\n" + more;
}

struct Outcome {
  int status = 0;
  std::string output, errors;
};

inline Outcome run_command(const std::string& command, const fs::path& folder) {
  const auto status =
      std::system((command + " >" + (folder / "out.txt").string() + " 2>" + (folder / "err.txt").string()).c_str());
  return {WEXITSTATUS(status), read_file(folder / "out.txt"), read_file(folder / "err.txt")};
}

inline std::vector<std::string> lines_of(const fs::path& file) {
  return fs::exists(file) ? split(trim(read_file(file)), '\n') : std::vector<std::string>{};
}

inline std::size_t count(const std::vector<std::string>& lines, const std::string& part) {
  return static_cast<std::size_t>(
      std::count_if(lines.begin(), lines.end(), [&](const auto& line) { return line.find(part) != line.npos; }));
}

}  // namespace quiver
