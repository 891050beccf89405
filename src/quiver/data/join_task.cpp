// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/join_task.h"

#include "quiver/base/error.h"

namespace quiver::data {

std::int32_t end_token(const text::Tokenizer& tokenizer, const JoinOptions& options, const std::string& where) {
  const auto& ends = tokenizer.eos_ids();
  QUIVER_CHECK(!ends.empty() || !options.append_eos, unsupported, where,
               "the tokenizer names no end-of-sequence token; give --no-eos");
  return ends.empty() ? -1 : ends[0];
}

void look_at_cuts(const Task& task, std::size_t example, const TokenRow& row, RowFindings& findings) {
  if (row.dropped_tokens == 0) return;
  findings.add(RowFinding::cut, task, example, fmt::format("{} tokens were dropped", row.dropped_tokens));
  if (row.dropped_target_tokens > 0) findings.add(RowFinding::target_cut, task, example);
}

JoinedTask join_rows(const Task& task, const std::vector<std::size_t>& indices, const std::string& what,
                     const Encode& encode, std::int32_t eos_id, const JoinOptions& options) {
  JoinedTask out{{}, {task.name, what, indices.size()}};
  look_at_texts(task, indices, out.findings);
  for (const auto i : indices) {
    try {
      out.rows.push_back(join_example(task.examples[i], encode, eos_id, options));
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("[task {}, {}] {}", task.name, task.place(i), error.what()));
    }
    look_at_cuts(task, i, out.rows.back(), out.findings);
  }
  return out;
}

}  // namespace quiver::data
