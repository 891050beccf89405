// SPDX-License-Identifier: Apache-2.0
// Benchmark: a public data set as a task. One row of a table says where its files lie, how a record becomes a prompt
// and a target, how the splits are made and how it is scored.
//
// Templates, label words, splits and metrics are those of PEMT (Lin et al., 2024; its data/tasks.py), which took the
// prompts from T5 and the splits from ATTEMPT. No task name opens a prompt; targets are words, not numbers. Published
// files often have no labelled test set, so each split rule below makes one. Plain values; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/data/records.h"
#include "quiver/data/task.h"

namespace quiver::data {

enum class SplitRule {
  halved,    ///< validation in the order of torch_permutation under 42: the first half (rounded down), test: the rest
  held_out,  ///< train in that order: the first 1000 are validation, the others train; test is the file of test
  given,     ///< each split is its file
};

/// What a record of a file becomes: one example, or all those that a split must not part (ReCoRD: one per answer).
using Item = std::vector<Example>;

struct Benchmark;
/// Visits the records of one file.
using ReadFile = void (*)(const fs::path& file, const RecordVisitor& visit);
/// Appends the items of a record.
using Render = void (*)(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);

/// `word: <the record's field>` in a prompt.
struct PromptField {
  std::string_view word, field;
};

/// A class: what the file says, and the word that a model is to say.
struct Label {
  std::string_view value, word;
};

struct Benchmark {
  std::string_view name, suite;
  std::string_view folder;                   ///< of the files in the public archive
  std::string_view train, validation, test;  ///< file names; empty where the split rule needs none
  SplitRule split_rule = SplitRule::given;
  ReadFile read = nullptr;
  Render render = nullptr;
  std::vector<PromptField> prompt;  ///< in order, parted by spaces; read by render_fields and render_score
  std::string_view label_field;
  std::vector<Label> labels;         ///< empty: not a classification
  int target_tokens = 128;           ///< cap of a target: 8 where answers are labels
  std::size_t train_limit = 0;       ///< training rows that are kept, the first ones after the split; 0: all
  std::vector<std::string> metrics;  ///< see evaluation/task_metrics.h; empty: exact match is the accuracy
};

const std::vector<Benchmark>& benchmarks();
/// Throws Error{usage} that names the nearest.
const Benchmark& find_benchmark(std::string_view name);

}  // namespace quiver::data
