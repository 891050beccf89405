// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/task_rows.h"

#include "quiver/base/error.h"

namespace quiver::workspace {

std::int32_t end_token(const text::Tokenizer& tokenizer, const data::JoinOptions& join) {
  const auto eos = tokenizer.eos_ids().empty() ? -1 : tokenizer.eos_ids()[0];
  QUIVER_CHECK(eos >= 0 || !join.append_eos, unsupported, "--task",
               "the tokenizer names no end-of-sequence token; give --no-eos");
  return eos;
}

std::vector<training::RoutedRow> labelled_rows(const std::vector<data::Task>& tasks, data::Split split,
                                               std::int64_t limit, const data::JoinOptions& join,
                                               const text::Tokenizer& tokenizer) {
  std::vector<training::RoutedRow> out;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    std::vector<data::TokenRow> rows;
    add_rows(tasks[t], split, limit, join, tokenizer, rows);
    for (auto& row : rows) out.push_back({std::move(row), static_cast<std::int64_t>(t)});
  }
  return out;
}

void add_rows(const data::Task& task, data::Split split, std::int64_t limit, const data::JoinOptions& join,
              const text::Tokenizer& tokenizer, std::vector<data::TokenRow>& out) {
  auto rows = task.rows(split);
  if (limit > 0 && rows.size() > static_cast<std::size_t>(limit)) rows.resize(static_cast<std::size_t>(limit));
  const auto eos = end_token(tokenizer, join);
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text); };
  for (const auto i : rows) out.push_back(data::join_example(task.examples[i], encode, eos, join));
}

}  // namespace quiver::workspace
