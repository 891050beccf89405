// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/task_rows.h"

#include <iterator>

namespace quiver::workspace {

std::vector<training::RoutedRow> labelled_rows(const std::vector<data::Task>& tasks, data::Split split,
                                               std::int64_t limit, const data::JoinOptions& join,
                                               const text::Tokenizer& tokenizer, Progress& said) {
  std::vector<training::RoutedRow> out;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    std::vector<data::TokenRow> rows;
    add_rows(tasks[t], split, limit, join, tokenizer, said, rows);
    for (auto& row : rows) out.push_back({std::move(row), static_cast<std::int64_t>(t)});
  }
  return out;
}

data::RowFindings add_rows(const data::Task& task, data::Split split, std::int64_t limit, const data::JoinOptions& join,
                           const text::Tokenizer& tokenizer, Progress& said, std::vector<data::TokenRow>& out) {
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text); };
  const auto end = data::end_token(tokenizer, join, "task " + task.name);
  auto joined = data::join_rows(task, task.rows(split, limit), data::split_name(split), encode, end, join);
  for (const auto& line : joined.findings.lines()) said.say(line);
  std::move(joined.rows.begin(), joined.rows.end(), std::back_inserter(out));
  return joined.findings;
}

}  // namespace quiver::workspace
