// SPDX-License-Identifier: Apache-2.0
// What a user should know of the rows that figures are made of: how many were cut, weigh nothing, cannot be right.
//
// Training and evaluation count the same things in the same words: a line each on standard error, a number each in
// --json.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quiver/data/task.h"

namespace quiver::data {

enum class RowFinding {
  cut,              ///< longer than a row may be: tokens were dropped
  target_cut,       ///< some of them the target's
  prompt_cut,       ///< a prompt cut further, so that its answer has room in the model's context
  weightless,       ///< weight 0
  empty_source,     ///< nothing before the target
  empty_target,     ///< the end alone is to learn
  without_options,  ///< among rows that have options
  outside_options,  ///< no right answer is among the options (or the labels that are ranked)
  spaced_options,   ///< a right answer is, but for white space at the ends
  long_answer,      ///< the target has more tokens than an answer may have
  left_out,         ///< cannot be joined or scored
};

class RowFindings {
 public:
  /// `rows` of the task called `task` are looked at, called `what` ("train", "test") in the lines.
  RowFindings(std::string task, std::string what, std::size_t rows);

  void add(RowFinding finding, const Task& task, std::size_t example, const std::string& detail = "");
  std::size_t count(RowFinding finding) const;
  /// `task t, train: 3 of 10 rows are ..; the first is row 2 (t.jsonl:2)`.
  std::vector<std::string> lines() const;
  /// {"cut": 3, ...}: what was found alone; an empty object where nothing was.
  nlohmann::json json() const;

 private:
  struct Entry {
    std::size_t count = 0;
    std::string first;
  };
  std::string task_, what_;
  std::size_t rows_;
  std::vector<Entry> entries_;  ///< by finding
};

/// Findings that rows show as they are read: weights, empty texts.
void look_at_texts(const Task& task, const std::vector<std::size_t>& rows, RowFindings& findings);
/// Findings of rows that are scored: what they may answer, their options or else `labels`, against their right answers.
void look_at_options(const Task& task, const std::vector<std::size_t>& rows, const std::vector<std::string>& labels,
                     RowFindings& findings);

}  // namespace quiver::data
