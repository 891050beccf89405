// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/task_rows.h"

#include "quiver/base/error.h"

namespace quiver::cli {

void add_rows(const data::Task& task, data::Split split, std::int64_t limit, const data::JoinOptions& join,
              const text::Tokenizer& tokenizer, std::vector<data::TokenRow>& out) {
  auto rows = task.rows(split);
  if (limit > 0 && rows.size() > static_cast<std::size_t>(limit)) rows.resize(static_cast<std::size_t>(limit));
  const auto eos = tokenizer.eos_ids().empty() ? -1 : tokenizer.eos_ids()[0];
  QUIVER_CHECK(eos >= 0 || !join.append_eos, unsupported, "train",
               "the tokenizer names no end-of-sequence token; give --no-eos");
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text); };
  for (const auto i : rows) out.push_back(data::join_example(task.examples[i], encode, eos, join));
}

}  // namespace quiver::cli
