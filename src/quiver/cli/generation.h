// SPDX-License-Identifier: Apache-2.0
// Generation options on the command line, and answers on the terminal: shared by generate and chat.
#pragma once

#include <CLI/CLI.hpp>

#include "quiver/cli/common.h"
#include "quiver/serving/text_generation.h"

namespace quiver::cli {

struct GenerationOptions {
  serving::TextOptions text;
  OptionSet set;
  void declare(CLI::App& app);
};

/// With `print`, writes the text to standard output as it comes.
serving::TextAnswer answered(const LoadedModel& loaded, const workspace::RoutedExperts& routed,
                             const serving::TextPrompt& prompt, const std::string& task,
                             const GenerationOptions& options, bool print);

}  // namespace quiver::cli
