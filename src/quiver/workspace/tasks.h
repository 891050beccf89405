// SPDX-License-Identifier: Apache-2.0
// Task files, and how their rows become tokens.
#pragma once

#include <string>
#include <vector>

#include "quiver/data/join.h"
#include "quiver/data/task.h"
#include "quiver/workspace/open_model.h"

namespace quiver::workspace {

struct TaskOptions {
  std::vector<std::string> paths;  ///< task files, or folders of them
  std::string format = "auto";     ///< auto, rows, messages, alpaca, natural-instructions, csv or tsv
  /// Chats are rendered by the model's template, so that every example has a source.
  std::vector<data::Task> read(const text::LoadedTokenizer& text) const;
};

/// How source and target are joined: shared by training and evaluation.
struct JoinChoice {
  std::string separator = "auto", tokenise = "apart", truncate = "left", rules;
  int max_tokens = 1024;
  bool no_eos = false, whole_sequence = false, bos = false;
  /// An encoder-decoder's sources end with the end-of-sequence token.
  data::JoinOptions options(const LoadedModel& loaded) const;
};

}  // namespace quiver::workspace
