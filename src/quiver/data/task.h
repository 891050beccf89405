// SPDX-License-Identifier: Apache-2.0
// Task: a data set of prompts and targets, as it is read from a file.
//
// The file's own format is JSON lines, one example a line:
//   {"source": "...", "target": "...", "task": "name", "split": "train|validation|test",
//    "options": ["..."], "references": ["..."], "weight": 1, "group": "...", "metrics": ["..."]}
// `source` and `target` are required; `messages` ([{"role", "content"}, ...]) may stand for both. Other formats are
// read by name (Format). A file is bytes from outside, and UTF-8: every defect is one Error{format} that names file,
// line, key and what was expected. Plain values; reading is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/base/files.h"

namespace quiver::data {

enum class Split { train, validation, test };

/// "train", "validation" or "test".
std::string split_name(Split split);
/// The reverse; throws Error{usage} that names the nearest split.
Split split_from_name(std::string_view name);

/// One turn of a conversation.
struct Message {
  std::string role;  ///< system, user, assistant, tool
  std::string content;
};

struct Example {
  std::string source;                   ///< the prompt; empty where `messages` is not
  std::string target;                   ///< the answer to learn
  std::vector<std::string> options;     ///< all choices of a classification; may be empty
  std::vector<std::string> references;  ///< all right answers; may be empty (then the target is the only one)
  std::vector<Message> messages;        ///< a chat's turns before the target, for the caller to render into `source`
  double weight = 1;                    ///< factor of the example's loss, >= 0
  Split split = Split::train;
  std::string group = {};  ///< examples that only count together, as MultiRC's answers to a question do
  std::string where = {};  ///< `file:line` it was read from; empty where it was made otherwise
  /// Of a chat that was rendered into `source`: its tokens, in which what people typed is never special. Rows then
  /// begin with these and nothing is put before or behind them.
  std::vector<std::int32_t> chat_ids = {};

  /// All right answers: `references`, or the target.
  std::vector<std::string> right_answers() const;
};

struct Task {
  std::string name;     ///< the rows' `task` field, else the file's stem
  std::string cluster;  ///< name of the folder that the file lies in; may be empty
  std::vector<Example> examples;
  std::vector<std::string> metrics = {};  ///< evaluation's beside those that all tasks have; evaluation/task_metrics.h

  /// Indices of the examples of one split, ascending; the first `limit` of them where that is above 0.
  std::vector<std::size_t> rows(Split split, std::int64_t limit = 0) const;
  /// `row 5 (file.jsonl:7)`: what a message calls an example.
  std::string place(std::size_t example) const;
};

enum class Format {
  automatic,             ///< by extension, then by the first row
  rows,                  ///< JSON lines or a JSON list of the rows above
  messages,              ///< the same where each row holds a chat; its last turn must be the assistant's, the target
  alpaca,                ///< rows of instruction, optional input, output
  natural_instructions,  ///< a Super-NaturalInstructions v2 task: one JSON object with Definition and Instances
  csv,                   ///< RFC 4180 with a header that has the columns source and target
  tsv,                   ///< the same parted by tabs, without quoting
};

/// The format of a name as the command line spells it: `auto`, `rows`, `natural-instructions`, ... Throws Error{usage}.
Format format_from_name(std::string_view name);

struct ReadOptions {
  Format format = Format::automatic;
  /// Natural Instructions only: worked examples put into each prompt, 0 to 8. More cost prompt tokens; 2 is customary.
  int positive_examples = 0;
  Split split = Split::train;  ///< of rows that name none
};

/// One task from one file. Throws Error{not_found|format|unsupported}.
Task read_task(const fs::path& path, const ReadOptions& options = {});

/// Tasks, and what their reader should tell: files that were passed over, files that became splits of one task.
struct TaskSet {
  std::vector<Task> tasks;
  std::vector<std::string> notes;  ///< a line each
};

/// The tasks of files and folders. A folder is searched to any depth, in the order of the paths, for files that the
/// format may have (all readable ones where it is automatic), whatever the case of their extensions. Hidden files and
/// folders and what editors leave are passed over; other files are named in the notes. Files named after splits
/// (train.jsonl, dev.jsonl, x-train.jsonl beside x-test.jsonl) are one task, called after their folder or what stands
/// before the split; a row's `split` counts before its file's. Two tasks of one name are an error.
TaskSet read_tasks(const std::vector<fs::path>& paths, const ReadOptions& options = {});

/// The task as JSON lines of Quiver's own rows, which read_task gives back; `split` in every row. Chats must have been
/// rendered: throws Error{unsupported} otherwise.
std::string task_rows(const Task& task);

}  // namespace quiver::data
