// SPDX-License-Identifier: Apache-2.0
// The rows of a task that an evaluation scores: joined, looked at, with what each can answer.
#pragma once

#include <string>
#include <vector>

#include "quiver/evaluation/evaluate.h"

namespace quiver::evaluation {

class ScoredRows {
 public:
  /// Throws as evaluate() does. `task` must outlive the rows.
  ScoredRows(const model::Model& model, const text::Tokenizer& tokenizer, const data::Task& task,
             const EvaluateOptions& options);

  std::size_t size() const { return rows_.size(); }
  const data::Example& example(std::size_t i) const { return task_.examples[rows_[i]]; }
  /// The row that training would learn.
  const data::TokenRow& target(std::size_t i) const { return targets_[i]; }
  /// What row i may answer: its options, or the task's labels; empty: it is generated.
  const std::vector<std::string>& choices(std::size_t i) const;
  /// The ids before its answer, whatever training learns of the row.
  std::vector<std::int32_t> source_ids(std::size_t i) const;
  /// Row i with one of its choices as the answer.
  data::TokenRow choice(std::size_t i, const std::string& text) const;
  /// What is read before an answer is generated; empty where the row is ranked.
  const std::vector<std::int32_t>& prompt(std::size_t i) const { return prompts_[i]; }

  /// Tokens that end an answer: the tokenizer's, and the end of a turn where rows are chats.
  std::vector<std::int32_t> ends() const;

  bool all_ranked() const { return ranked_ == size(); }
  /// Some right answer of the task has several lines: answers end where the model ends them.
  bool several_lines() const { return several_lines_; }
  const data::RowFindings& findings() const { return findings_; }

 private:
  data::Encode encode() const;
  void join(std::size_t row);
  std::vector<std::int32_t> prompt_of(std::size_t row);
  std::vector<std::string> labels(std::size_t first_row) const;

  const text::Tokenizer& tokenizer_;
  const data::Task& task_;
  EvaluateOptions options_;
  std::int32_t end_ = -1;
  std::int32_t prompt_tokens_ = 0;  ///< the most that a prompt to answer may have
  std::vector<std::size_t> rows_;   ///< numbers of examples
  std::vector<data::TokenRow> targets_;
  std::vector<std::vector<std::int32_t>> prompts_;
  std::vector<std::string> labels_;
  std::size_t ranked_ = 0;
  bool several_lines_ = false;
  data::RowFindings findings_;
};

}  // namespace quiver::evaluation
