// SPDX-License-Identifier: Apache-2.0
// read_task of task.h: which format a file has, and what its task is called.
#include <algorithm>
#include <cctype>
#include <optional>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/delimited_text.h"
#include "quiver/data/natural_instructions.h"
#include "quiver/data/records.h"
#include "quiver/data/row_formats.h"
#include "quiver/data/task.h"
#include "quiver/data/task_files.h"
#include "quiver/data/text_file.h"

namespace quiver::data {
namespace {

/// Gathers rows into a task: one name, one list of metrics, and either a split in every row or in none.
class TaskBuilder {
 public:
  /// Rows that name no split belong to `split`.
  TaskBuilder(Task& task, Format format, Split split) : task_(task), format_(format), split_(split) {}

  void add(const Record& record) {
    if (format_ == Format::automatic) format_ = row_format_of(record);
    check_name(record);
    check_split(record);
    check_metrics(record);
    auto& example = task_.examples.emplace_back(example_from_row(record, format_));
    if (!*has_split_) example.split = split_;
  }

 private:
  void check_name(const Record& record) {
    const auto name = text_field_or(record, "task", task_.name);
    const bool printable = std::none_of(name.begin(), name.end(), [](unsigned char c) { return std::iscntrl(c); });
    QUIVER_CHECK(!name.empty() && name.size() <= 200 && printable, format, record.where,
                 "key 'task': expected a name of 1 to 200 bytes without control characters, came {} bytes",
                 name.size());
    if (task_.examples.empty()) task_.name = name;
    QUIVER_CHECK(name == task_.name, format, record.where, "key 'task': expected '{}' as in the rows before, came '{}'",
                 task_.name, name);
  }

  void check_split(const Record& record) {
    const bool here = record.value.contains("split");
    if (!has_split_) has_split_ = here;
    QUIVER_CHECK(here == *has_split_, format, record.where,
                 "key 'split': expected in every row or in none; this row has {}, those before have {}",
                 here ? "one" : "none", *has_split_ ? "one" : "none");
  }

  void check_metrics(const Record& record) {
    if (!record.value.contains("metrics")) return;
    auto metrics = text_list_field(record, "metrics");
    if (task_.metrics.empty()) task_.metrics = metrics;
    QUIVER_CHECK(metrics == task_.metrics, format, record.where,
                 "key 'metrics': expected '{}' as in the rows before, came '{}'", join(task_.metrics, "', '"),
                 join(metrics, "', '"));
  }

  Task& task_;
  Format format_;
  Split split_;
  std::optional<bool> has_split_;
};

/// Whether the text is one JSON object over several lines or a one-line Natural Instructions task.
bool is_document(std::string_view text, const std::string& file) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return false;
  const auto line = text.substr(first, text.find('\n', first) - first);
  const auto value = nlohmann::json::parse(line, nullptr, false);
  return value.is_discarded() || is_natural_instructions(value);
}

/// The format that the extension settles; `automatic` where the content must.
Format format_of_extension(const fs::path& path) {
  const auto extension = lower_ascii(path.extension().string());
  if (extension == ".csv") return Format::csv;
  if (extension == ".tsv") return Format::tsv;
  QUIVER_CHECK(extension != ".parquet", unsupported, path.string(),
               "Parquet is not read; expected JSON lines (source, target), csv or tsv");
  QUIVER_CHECK(extension == ".jsonl" || extension == ".json" || extension == ".ndjson", unsupported, path.string(),
               "expected a task file ending in .jsonl, .json, .csv or .tsv, or a format by name");
  return Format::automatic;
}

void read_instructions(Task& task, std::string_view text, const std::string& file, const ReadOptions& options) {
  const auto document = parse_json(text, file);
  QUIVER_CHECK(is_natural_instructions(document), format, file,
               "expected JSON lines, or one object with the keys Definition and Instances");
  task.examples = read_natural_instructions(document, file, options.positive_examples);
}

}  // namespace

Task read_task(const fs::path& path, const ReadOptions& options) {
  QUIVER_CHECK(options.positive_examples >= 0 && options.positive_examples <= 8, usage, "positive examples",
               "expected 0 to 8, came {}", options.positive_examples);
  const auto text = read_text_file(path);
  const auto file = path.string();
  auto format = options.format == Format::automatic ? format_of_extension(path) : options.format;
  if (format == Format::automatic && is_document(text, file)) format = Format::natural_instructions;

  Task task{path.stem().string(), folder_of(path).filename().string(), {}};
  TaskBuilder builder(task, format == Format::csv || format == Format::tsv ? Format::rows : format, options.split);
  const auto add = [&](const Record& record) { builder.add(record); };
  if (format == Format::natural_instructions) {
    read_instructions(task, text, file, options);
    for (auto& example : task.examples) example.split = options.split;
  } else if (format == Format::csv || format == Format::tsv) {
    visit_delimited(text, file, format == Format::csv ? ',' : '\t', add);
  } else {
    visit_records(text, file, add);
  }
  QUIVER_CHECK(!task.examples.empty(), format, file, "expected at least one example, came none");
  return task;
}

}  // namespace quiver::data
