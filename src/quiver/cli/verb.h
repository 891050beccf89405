// SPDX-License-Identifier: Apache-2.0
// A verb of the command line: `quiver NAME [options]`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace quiver::cli {

/// Declares its options on the application it is given and returns what to run once they are parsed.
using Declare = std::function<void()> (*)(CLI::App& app);

struct Verb {
  const char* name;
  const char* summary;
  const char* examples;  ///< two commands that run, shown at the end of --help
  Declare declare;
  bool loads_model;  ///< its time and peak memory are said at the end, on standard error
};

/// All verbs, in the order of --help.
const std::vector<Verb>& verbs();

std::function<void()> declare_info(CLI::App& app);
std::function<void()> declare_tokenize(CLI::App& app);
std::function<void()> declare_generate(CLI::App& app);
std::function<void()> declare_chat(CLI::App& app);
std::function<void()> declare_forward(CLI::App& app);
std::function<void()> declare_task(CLI::App& app);
std::function<void()> declare_train(CLI::App& app);
std::function<void()> declare_pretrain(CLI::App& app);
std::function<void()> declare_library(CLI::App& app);
std::function<void()> declare_prepare(CLI::App& app);
std::function<void()> declare_adapt(CLI::App& app);
std::function<void()> declare_cluster(CLI::App& app);
std::function<void()> declare_merge(CLI::App& app);
std::function<void()> declare_evaluate(CLI::App& app);
std::function<void()> declare_inspect(CLI::App& app);
std::function<void()> declare_run(CLI::App& app);
std::function<void()> declare_bench(CLI::App& app);

}  // namespace quiver::cli
