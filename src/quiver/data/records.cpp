// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/records.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kSpace = " \t\r\n";

const Json* find(const Record& record, const std::string& key) {
  const auto found = record.value.find(key);
  return found == record.value.end() || found->is_null() ? nullptr : &*found;
}

std::string as_text(const Json& value, const std::string& where, const std::string& key) {
  QUIVER_CHECK(value.is_string(), format, where, "key '{}': expected a string, came {}", key, value.type_name());
  return value.get<std::string>();
}

void visit_object(Json&& value, const std::string& where, const RecordVisitor& visit) {
  QUIVER_CHECK(value.is_object(), format, where, "expected a JSON object, came {}", value.type_name());
  visit(Record{std::move(value), where});
}

void visit_list(std::string_view text, const std::string& file, const ValueVisitor& visit) {
  Json list = parse_json(text, file);
  std::size_t item = 0;
  for (auto& value : list) visit(std::move(value), fmt::format("{}, item {}", file, ++item));
}

void visit_lines(std::string_view text, const std::string& file, const ValueVisitor& visit) {
  for (std::size_t begin = 0, line = 1; begin < text.size(); ++line) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto content = text.substr(begin, end - begin);
    begin = end + 1;
    if (content.find_first_not_of(kSpace) == std::string_view::npos) continue;
    const auto where = fmt::format("{}:{}", file, line);
    QUIVER_CHECK(content.size() <= kMaxLineBytes, format, where, "expected a line of at most {} bytes, came {}",
                 kMaxLineBytes, content.size());
    visit(parse_json(content, where), where);
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  const auto check_depth = [&](int depth, Json::parse_event_t, const Json&) {
    QUIVER_CHECK(depth <= kMaxJsonDepth, format, where, "expected JSON nested at most {} deep", kMaxJsonDepth);
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::parse_error& error) {
    fail(ErrorCode::format, where, "expected JSON, came a syntax error at byte {} of {} bytes", error.byte,
         text.size());
  } catch (const Json::exception&) {
    fail(ErrorCode::format, where, "expected JSON, came a number out of range");
  }
}

void visit_values(std::string_view text, const std::string& file, const ValueVisitor& visit) {
  const auto first = text.find_first_not_of(kSpace);
  if (first != std::string_view::npos && text[first] == '[') return visit_list(text, file, visit);
  visit_lines(text, file, visit);
}

void visit_records(std::string_view text, const std::string& file, const RecordVisitor& visit) {
  visit_values(text, file,
               [&](Json&& value, const std::string& where) { visit_object(std::move(value), where, visit); });
}

std::string text_field(const Record& record, const std::string& key) {
  const auto* value = find(record, key);
  QUIVER_CHECK(value, format, record.where, "key '{}': expected a string, but the key is missing", key);
  return as_text(*value, record.where, key);
}

std::string text_field_or(const Record& record, const std::string& key, const std::string& missing) {
  const auto* value = find(record, key);
  return value ? as_text(*value, record.where, key) : missing;
}

std::vector<std::string> text_list_field(const Record& record, const std::string& key) {
  const auto* value = find(record, key);
  if (!value) return {};
  QUIVER_CHECK(value->is_array(), format, record.where, "key '{}': expected a list of strings, came {}", key,
               value->type_name());
  std::vector<std::string> texts;
  for (const auto& item : *value) texts.push_back(as_text(item, record.where, key));
  return texts;
}

std::vector<Record> object_list_field(const Record& record, const std::string& key) {
  const auto* value = find(record, key);
  QUIVER_CHECK(value && value->is_array(), format, record.where, "key '{}': expected a list of objects, {}", key,
               value ? fmt::format("came {}", value->type_name()) : "but the key is missing");
  std::vector<Record> items;
  for (const auto& item : *value) {
    const auto where = fmt::format("{}, {} {}", record.where, key, items.size() + 1);
    visit_object(Json(item), where, [&](const Record& object) { items.push_back(object); });
  }
  return items;
}

double number_field_or(const Record& record, const std::string& key, double missing) {
  const auto* value = find(record, key);
  if (!value) return missing;
  QUIVER_CHECK(value->is_number(), format, record.where, "key '{}': expected a number, came {}", key,
               value->type_name());
  return value->get<double>();
}

void check_keys(const Record& record, const std::vector<std::string>& known) {
  static const std::vector<std::string> kIgnored = {"id", "metadata"};
  for (const auto& [key, value] : record.value.items()) {
    const auto is_key = [&key = key](const std::string& name) { return name == key; };
    const bool expected = std::any_of(known.begin(), known.end(), is_key);
    QUIVER_CHECK(expected || std::any_of(kIgnored.begin(), kIgnored.end(), is_key), format, record.where,
                 "unknown key '{}'{}", key, suggestion(key, known));
  }
}

}  // namespace quiver::data
