// SPDX-License-Identifier: Apache-2.0
// Rows of tasks as training takes them. What is found of them (rows that were cut, weigh nothing, have empty texts) is
// said, once for each task and split.
#pragma once

#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/join_task.h"
#include "quiver/text/tokenizer.h"
#include "quiver/training/routed_training.h"

namespace quiver::workspace {

/// Rows of one split of several tasks, labelled by the tasks' numbers.
std::vector<training::RoutedRow> labelled_rows(const std::vector<data::Task>& tasks, data::Split split,
                                               std::int64_t limit, const data::JoinOptions& join,
                                               const text::Tokenizer& tokenizer, Progress& said);

/// Adds the first `limit` (0: all) rows of one split of a task, joined; what was found of them. Throws Error{format}
/// that names task and row where one has nothing to learn.
data::RowFindings add_rows(const data::Task& task, data::Split split, std::int64_t limit, const data::JoinOptions& join,
                           const text::Tokenizer& tokenizer, Progress& said, std::vector<data::TokenRow>& out);

}  // namespace quiver::workspace
