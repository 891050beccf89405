// SPDX-License-Identifier: Apache-2.0
// The rows of a task, joined as training takes them.
#pragma once

#include <string>
#include <vector>

#include "quiver/data/join.h"
#include "quiver/data/row_findings.h"
#include "quiver/text/tokenizer.h"

namespace quiver::data {

struct JoinedTask {
  std::vector<TokenRow> rows;
  RowFindings findings;
};

/// What ends a target; -1: nothing. Throws Error{unsupported} at `where` where an end is to be appended and the
/// tokenizer names none.
std::int32_t end_token(const text::Tokenizer& tokenizer, const JoinOptions& options, const std::string& where);

/// The examples numbered in `indices`, called `what` in the findings. Throws Error{format} that names task and row
/// where nothing is left to learn.
JoinedTask join_rows(const Task& task, const std::vector<std::size_t>& indices, const std::string& what,
                     const Encode& encode, std::int32_t eos_id, const JoinOptions& options);

/// Counts what joining did to an example's row.
void look_at_cuts(const Task& task, std::size_t example, const TokenRow& row, RowFindings& findings);

}  // namespace quiver::data
