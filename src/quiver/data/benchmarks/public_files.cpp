// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/public_files.h"

#include <set>
#include <utility>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/delimited_text.h"
#include "quiver/data/text_file.h"

namespace quiver::data {
namespace {

using Json = nlohmann::json;

enum class ShortRows { refused, dropped };

void visit_table(const fs::path& file, ShortRows short_rows, const RecordVisitor& visit) {
  std::vector<std::string> header;
  visit_fields(read_text_file(file), file.string(), '\t', [&](const auto& fields, const std::string& where) {
    if (header.empty()) {
      header = fields;
      return;
    }
    if (fields.size() < header.size() && short_rows == ShortRows::dropped) return;
    QUIVER_CHECK(fields.size() >= header.size(), format, where, "expected {} fields, came {}", header.size(),
                 fields.size());
    Record record{Json::object(), where};
    for (std::size_t i = 0; i < header.size(); ++i) record.value[header[i]] = fields[i];
    visit(record);
  });
}

using IdPair = std::pair<std::string, std::string>;

/// GLUE's list of the training pairs that are validation: two ids a line.
std::set<IdPair> read_ids(const fs::path& file) {
  std::set<IdPair> ids;
  visit_fields(read_text_file(file), file.string(), '\t', [&](const auto& fields, const std::string& where) {
    QUIVER_CHECK(fields.size() == 2, format, where, "expected two ids, came {} fields", fields.size());
    ids.emplace(fields[0], fields[1]);
  });
  return ids;
}

void visit_question(const Record& question, const std::string& context, std::vector<std::string> answers,
                    const RecordVisitor& visit) {
  QUIVER_CHECK(!answers.empty(), format, question.where, "key 'answers': expected at least one answer, came none");
  for (auto& answer : answers) answer = trim(answer);
  visit({Json{{"question", trim(text_field(question, "question"))}, {"context", trim(context)}, {"answers", answers}},
         question.where});
}

}  // namespace

void read_table(const fs::path& file, const RecordVisitor& visit) { visit_table(file, ShortRows::refused, visit); }

void read_ragged_table(const fs::path& file, const RecordVisitor& visit) {
  visit_table(file, ShortRows::dropped, visit);
}

void read_cola(const fs::path& file, const RecordVisitor& visit) {
  visit_fields(read_text_file(file), file.string(), '\t', [&](const auto& fields, const std::string& where) {
    QUIVER_CHECK(fields.size() >= 4, format, where, "expected 4 fields, came {}", fields.size());
    visit({Json{{"label", fields[1]}, {"sentence", fields[3]}}, where});
  });
}

void read_mrpc(const fs::path& file, const RecordVisitor& visit) {
  if (fs::exists(file)) return read_table(file, visit);
  const auto folder = file.parent_path();
  const auto ids = read_ids(folder / "mrpc_dev_ids.tsv");
  const bool wanted = file.filename() == "dev.tsv";
  read_table(folder / "msr_paraphrase_train.txt", [&](const Record& record) {
    if (ids.contains({text_field(record, "#1 ID"), text_field(record, "#2 ID")}) == wanted) visit(record);
  });
}

void read_json_lines(const fs::path& file, const RecordVisitor& visit) {
  visit_records(read_text_file(file), file.string(), visit);
}

void read_squad(const fs::path& file, const RecordVisitor& visit) {
  const Record document{parse_json(read_text_file(file), file.string()), file.string()};
  QUIVER_CHECK(document.value.is_object(), format, file.string(), "expected one JSON object with the key data");
  for (const auto& article : object_list_field(document, "data")) {
    for (const auto& paragraph : object_list_field(article, "paragraphs")) {
      for (const auto& question : object_list_field(paragraph, "qas")) {
        std::vector<std::string> answers;
        for (const auto& answer : object_list_field(question, "answers")) answers.push_back(text_field(answer, "text"));
        visit_question(question, text_field(paragraph, "context"), std::move(answers), visit);
      }
    }
  }
}

void read_mrqa(const fs::path& file, const RecordVisitor& visit) {
  bool first = true;
  read_json_lines(file, [&](const Record& record) {
    if (std::exchange(first, false)) {
      QUIVER_CHECK(record.value.contains("header"), format, record.where, "key 'header': expected in the first line");
      return;
    }
    for (const auto& question : object_list_field(record, "qas"))
      visit_question(question, text_field(record, "context"), text_list_field(question, "answers"), visit);
  });
}

void read_reviews(const fs::path& file, const RecordVisitor& visit) {
  const auto text = read_text_file(file);
  for (std::size_t begin = 0, line = 1; begin < text.size(); ++line) {
    const auto end = std::min(text.find('\n', begin), text.size());
    auto content = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (content.empty()) continue;
    const auto where = fmt::format("{}:{}", file.string(), line);
    QUIVER_CHECK(content.size() >= 6 && content[0] == '"' && content.substr(2, 3) == "\",\"" && content.back() == '"',
                 format, where, "expected \"1\",\"text\" or \"2\",\"text\" on one line");
    visit({Json{{"label", content.substr(1, 1)}, {"text", trim(content.substr(5, content.size() - 6))}}, where});
  }
}

}  // namespace quiver::data
