// SPDX-License-Identifier: Apache-2.0
// Generation options and streaming to the terminal, shared by generate and chat.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "quiver/cli/common.h"
#include "quiver/model/generate.h"

namespace quiver::cli {

struct GenerationOptions {
  model::GenerateOptions model;
  std::vector<std::string> stop;
  void declare(CLI::App& app);
};

struct Answer {
  std::string text;  ///< up to the stop string, if one came
  std::vector<std::int32_t> ids;
};

/// Generates from `prompt`; with `print`, writes the text to standard output as it comes.
Answer generate_streamed(const LoadedModel& loaded, const routing::Router& router, const std::string& prompt,
                         const std::string& task, const GenerationOptions& options, bool print);

}  // namespace quiver::cli
