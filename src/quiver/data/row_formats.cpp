// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/row_formats.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

const std::vector<std::string> kRoles = {"system", "user", "assistant", "tool"};

Message message_from(const nlohmann::json& value, const std::string& where) {
  QUIVER_CHECK(value.is_object(), format, where, "key 'messages': expected objects, came {}", value.type_name());
  const Record record{value, where + ", key 'messages'"};
  check_keys(record, {"role", "content"});
  Message message{text_field(record, "role"), text_field(record, "content")};
  const bool known = std::find(kRoles.begin(), kRoles.end(), message.role) != kRoles.end();
  QUIVER_CHECK(known, format, record.where, "unknown role '{}'{}", message.role, suggestion(message.role, kRoles));
  return message;
}

/// The turns go to `messages`, the last one's text, which must be the assistant's, to `target`.
void read_chat(const Record& record, Example& example) {
  example.messages = read_messages(record);
  QUIVER_CHECK(example.messages.size() >= 2, format, record.where,
               "key 'messages': expected at least two turns, came {}", example.messages.size());
  const auto answer = example.messages.back();
  QUIVER_CHECK(answer.role == "assistant", format, record.where,
               "key 'messages': expected the last turn to be the assistant's, came '{}'", answer.role);
  example.messages.pop_back();
  example.target = answer.content;
}

void read_alpaca(const Record& record, Example& example) {
  const auto input = text_field_or(record, "input", "");
  example.source = text_field(record, "instruction") + (input.empty() ? "" : "\n" + input);
  example.target = text_field(record, "output");
}

Split read_split(const Record& record) {
  const auto name = text_field_or(record, "split", "train");
  try {
    return split_from_name(name);
  } catch (const Error&) {
    fail(ErrorCode::format, record.where, "key 'split': expected train, validation or test, came '{}'", name);
  }
}

void check_row_keys(const Record& record, Format format) {
  std::vector<std::string> known = {"task", "split", "options", "references", "weight", "group", "metrics"};
  if (format == Format::messages) {
    known.insert(known.end(), {"messages"});
  } else if (format == Format::alpaca) {
    known.insert(known.end(), {"instruction", "input", "output"});
  } else {
    known.insert(known.end(), {"source", "target"});
  }
  check_keys(record, known);
}

}  // namespace

std::vector<Message> read_messages(const Record& record) {
  const auto found = record.value.find("messages");
  QUIVER_CHECK(found != record.value.end() && found->is_array(), format, record.where,
               "key 'messages': expected a list of objects with role and content");
  std::vector<Message> out;
  for (const auto& turn : *found) out.push_back(message_from(turn, record.where));
  return out;
}

Format row_format_of(const Record& record) {
  if (record.value.contains("messages")) return Format::messages;
  if (record.value.contains("instruction") && record.value.contains("output")) return Format::alpaca;
  return Format::rows;
}

Example example_from_row(const Record& record, Format format) {
  check_row_keys(record, format);
  Example example;
  example.where = record.where;
  if (format == Format::messages) {
    read_chat(record, example);
  } else if (format == Format::alpaca) {
    read_alpaca(record, example);
  } else {
    example.source = text_field(record, "source");
    example.target = text_field(record, "target");
  }
  example.options = text_list_field(record, "options");
  example.references = text_list_field(record, "references");
  example.group = text_field_or(record, "group", "");
  example.weight = number_field_or(record, "weight", 1);
  QUIVER_CHECK(std::isfinite(example.weight) && example.weight >= 0, format, record.where,
               "key 'weight': expected a finite number >= 0, came {}", example.weight);
  example.split = read_split(record);
  return example;
}

}  // namespace quiver::data
