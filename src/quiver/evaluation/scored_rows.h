// SPDX-License-Identifier: Apache-2.0
// The rows of a task that an evaluation scores: joined, looked at, with what each can answer.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quiver/evaluation/candidates.h"
#include "quiver/evaluation/evaluate.h"

namespace quiver::evaluation {

class ScoredRows {
 public:
  /// Throws as evaluate() does. `task` must outlive the rows.
  ScoredRows(const model::Model& model, const text::Tokenizer& tokenizer, const data::Task& task,
             const EvaluateOptions& options);

  std::size_t size() const { return rows_.size(); }
  /// The numbers of the examples that are scored.
  const std::vector<std::size_t>& numbers() const { return rows_; }
  const data::Example& example(std::size_t i) const { return task_.examples[rows_[i]]; }
  /// The row that training would learn.
  const data::TokenRow& target(std::size_t i) const { return joined_[i].target; }
  /// What row i may answer: its options, or the task's labels; empty: it is generated.
  const std::vector<std::string>& choices(std::size_t i) const { return choices_of(example(i)); }
  /// Its choices as answers, in their order.
  const std::vector<PromptCandidates>& answers(std::size_t i) const { return joined_[i].answers; }
  /// The ids before its answer, whatever training learns of the row.
  std::span<const std::int32_t> source_ids(std::size_t i) const {
    return std::span(joined_[i].target.ids).first(static_cast<std::size_t>(joined_[i].source_tokens));
  }
  /// What is read before an answer is generated; empty where the row is ranked.
  const std::vector<std::int32_t>& prompt(std::size_t i) const { return joined_[i].prompt; }

  /// Tokens that end an answer: the tokenizer's, and the end of a turn where rows are chats.
  std::vector<std::int32_t> ends() const;

  bool all_ranked() const { return ranked_ == size(); }
  /// Some right answer of the task has several lines: answers end where the model ends them.
  bool several_lines() const { return several_lines_; }
  const data::RowFindings& findings() const { return findings_; }

 private:
  struct JoinedRow {
    data::TokenRow target;
    std::int32_t source_tokens = 0;
    std::vector<PromptCandidates> answers;
    std::vector<std::int32_t> prompt;
  };

  data::Encode encode() const;
  void add(std::size_t row);
  JoinedRow joined(const data::Example& example) const;
  std::vector<PromptCandidates> answers_of(const data::Example& example, const data::Encode& encode) const;
  std::vector<std::int32_t> prompt_of(std::size_t row);
  const std::vector<std::string>& choices_of(const data::Example& example) const;
  std::vector<std::string> labels(const std::vector<std::size_t>& wanted) const;

  const text::Tokenizer& tokenizer_;
  const data::Task& task_;
  EvaluateOptions options_;
  std::int32_t end_ = -1;
  std::int32_t prompt_tokens_ = 0;  ///< the most that a prompt to answer may have
  std::vector<std::size_t> rows_;   ///< numbers of examples
  std::vector<JoinedRow> joined_;   ///< of each of them
  std::vector<std::string> labels_;
  std::size_t ranked_ = 0;
  bool several_lines_ = false;
  data::RowFindings findings_;
};

}  // namespace quiver::evaluation
