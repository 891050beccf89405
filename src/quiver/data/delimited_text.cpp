// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/delimited_text.h"

#include <algorithm>
#include <charconv>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

/// Reads the rows of a text one by one and knows the line that each begins at.
class RowReader {
 public:
  RowReader(std::string_view text, const std::string& file, char separator)
      : rest_(text), file_(file), separator_(separator) {}

  /// The next row that is not blank; false at the end.
  bool next(std::vector<std::string>& fields) {
    while (!rest_.empty() && (rest_.front() == '\n' || rest_.front() == '\r')) take();
    if (rest_.empty()) return false;
    fields.clear();
    row_line_ = line_;
    row_bytes_ = 0;
    do fields.push_back(field());
    while (take_if(separator_));
    take_if('\r');
    QUIVER_CHECK(rest_.empty() || take_if('\n'), format, where(), "expected a separator after a closing quote");
    return true;
  }

  std::string where() const { return fmt::format("{}:{}", file_, row_line_); }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '\n') ++line_;
    QUIVER_CHECK(++row_bytes_ <= kMaxLineBytes, format, where(), "expected a row of at most {} bytes", kMaxLineBytes);
    return c;
  }

  bool take_if(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    take();
    return true;
  }

  std::string field() {
    if (separator_ == ',' && take_if('"')) return quoted();
    std::string value;
    while (!rest_.empty() && rest_.front() != separator_ && rest_.front() != '\n') value += take();
    const bool row_end = rest_.empty() || rest_.front() == '\n';
    if (row_end && value.ends_with('\r')) value.pop_back();
    return value;
  }

  std::string quoted() {
    std::string value;
    while (!rest_.empty()) {
      const char c = take();
      if (c != '"')
        value += c;
      else if (take_if('"'))
        value += '"';
      else
        return value;
    }
    fail(ErrorCode::format, where(), "expected a closing quote, came the end of the file");
  }

  std::string_view rest_;
  std::string file_;
  char separator_;
  std::size_t line_ = 1, row_line_ = 1, row_bytes_ = 0;
};

nlohmann::json field_value(const std::string& name, const std::string& text, const std::string& where) {
  if (name != "weight") return text;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  QUIVER_CHECK(error == std::errc{} && end == text.data() + text.size(), format, where,
               "column 'weight': expected a number, came '{}'", text);
  return number;
}

void read_header(const std::vector<std::string>& fields, const std::string& where, std::vector<std::string>& header) {
  for (const auto* column : {"source", "target"}) {
    QUIVER_CHECK(std::count(fields.begin(), fields.end(), column) == 1, format, where,
                 "expected one column '{}' in the header, came '{}'", column, join(fields, "', '"));
  }
  header = fields;
}

}  // namespace

void visit_fields(std::string_view text, const std::string& file, char separator, const FieldsVisitor& visit) {
  RowReader reader(text, file, separator);
  std::vector<std::string> fields;
  while (reader.next(fields)) visit(fields, reader.where());
}

void visit_delimited(std::string_view text, const std::string& file, char separator, const RecordVisitor& visit) {
  std::vector<std::string> header;
  visit_fields(text, file, separator, [&](const std::vector<std::string>& fields, const std::string& where) {
    if (header.empty()) return read_header(fields, where, header);
    QUIVER_CHECK(fields.size() == header.size(), format, where, "expected {} fields, came {}", header.size(),
                 fields.size());
    Record record{nlohmann::json::object(), where};
    for (std::size_t i = 0; i < fields.size(); ++i) record.value[header[i]] = field_value(header[i], fields[i], where);
    visit(record);
  });
  QUIVER_CHECK(!header.empty(), format, file, "expected a header with the columns source and target");
}

}  // namespace quiver::data
