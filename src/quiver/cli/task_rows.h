// SPDX-License-Identifier: Apache-2.0
// Rows of tasks as training takes them.
#pragma once

#include <vector>

#include "quiver/data/join.h"
#include "quiver/data/task.h"
#include "quiver/text/tokenizer.h"

namespace quiver::cli {

/// Adds the first `limit` (0: all) rows of one split of a task, joined.
void add_rows(const data::Task& task, data::Split split, std::int64_t limit, const data::JoinOptions& join,
              const text::Tokenizer& tokenizer, std::vector<data::TokenRow>& out);

}  // namespace quiver::cli
