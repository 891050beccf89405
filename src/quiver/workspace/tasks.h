// SPDX-License-Identifier: Apache-2.0
// Task files as examples with a source, whatever they held.
#pragma once

#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/task.h"
#include "quiver/workspace/open_model.h"

namespace quiver::workspace {

struct TaskOptions {
  std::vector<std::string> paths;  ///< task files, or folders of them
  std::string format = "auto";     ///< auto, rows, messages, alpaca, natural-instructions, csv or tsv
  std::string turns = "all";       ///< of a chat that are learned: all of the assistant's, or the last
  /// Chats are rendered by the model's template, so that every example has a source. What the files are like, and what
  /// was passed over, is said.
  std::vector<data::Task> read(const text::LoadedTokenizer& text, Progress& said) const;
};

}  // namespace quiver::workspace
