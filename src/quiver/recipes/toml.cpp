// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/toml.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::recipes {
namespace {

constexpr std::uint64_t kLimitBytes = 1 << 20;

std::string place(const toml::source_region& region) {
  return fmt::format("{}:{}", region.path ? *region.path : "recipe", region.begin.line);
}

toml::table parse(const std::string& text, const std::string& where) {
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    fail(ErrorCode::format, place(error.source()), "expected TOML: {}", error.description());
  }
}

/// A change as a table: its value is TOML, or else text.
toml::table parse_change(const std::string& change) {
  const auto equals = change.find('=');
  QUIVER_CHECK(equals != std::string::npos && equals > 0, usage, "--set " + change, "expected KEY=VALUE");
  const auto value = change.substr(equals + 1);
  try {
    return toml::parse(change, "--set " + change);
  } catch (const toml::parse_error&) {
    QUIVER_CHECK(value.find('\'') == std::string::npos && value.find('\n') == std::string::npos, usage,
                 "--set " + change, "expected a TOML value after '='");
  }
  return parse(change.substr(0, equals) + "='" + value + "'", "--set " + change);
}

/// What is moved knows where it stood, what is copied does not.
void merge(toml::table& into, toml::table&& from) {
  for (auto&& [key, value] : from) {
    auto* below = into.get_as<toml::table>(key.str());
    if (below != nullptr && value.is_table()) {
      merge(*below, std::move(*value.as_table()));
    } else {
      into.insert_or_assign(key.str(), std::move(value));
    }
  }
}

/// A number, text or truth as it is given to a verb; empty for other kinds.
std::string value_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return "";
}

}  // namespace

toml::table read_toml(const fs::path& file, const std::vector<std::string>& changes) {
  auto table = parse(read_file(file, kLimitBytes), file.string());
  for (const auto& change : changes) merge(table, parse_change(change));
  return table;
}

const toml::node* TableReader::find(const std::string& key) {
  asked_.insert(key);
  return table_.get(key);
}

void TableReader::refuse(const std::string& key, const std::string& why) const {
  const auto* node = table_.get(key);
  fail(ErrorCode::usage, place(node != nullptr ? node->source() : table_.source()), "'{}' {}", key, why);
}

void TableReader::wrong_type(const std::string& key, const std::string& expected) const {
  refuse(key, "expected " + expected);
}

std::string TableReader::text(const std::string& key, const std::string& fallback) {
  const auto* node = find(key);
  if (node == nullptr) return fallback;
  if (!node->is_string()) wrong_type(key, "a text");
  return node->as_string()->get();
}

std::string TableReader::required_text(const std::string& key) {
  const auto value = text(key);
  if (value.empty()) refuse(key, "is missing");
  return value;
}

std::int64_t TableReader::count(const std::string& key, std::int64_t fallback) {
  const auto* node = find(key);
  if (node == nullptr) return fallback;
  if (!node->is_integer() || node->as_integer()->get() < 0) wrong_type(key, "a whole number, 0 or more");
  return node->as_integer()->get();
}

bool TableReader::flag(const std::string& key, bool fallback) {
  const auto* node = find(key);
  if (node == nullptr) return fallback;
  if (!node->is_boolean()) wrong_type(key, "true or false");
  return node->as_boolean()->get();
}

std::vector<std::string> TableReader::texts(const std::string& key) {
  const auto* node = find(key);
  std::vector<std::string> out;
  if (node == nullptr) return out;
  if (!node->is_array()) wrong_type(key, "a list of texts");
  for (const auto& item : *node->as_array()) {
    if (!item.is_string()) wrong_type(key, "a list of texts");
    out.push_back(item.as_string()->get());
  }
  return out;
}

std::vector<std::int64_t> TableReader::counts(const std::string& key, const std::vector<std::int64_t>& fallback) {
  const auto* node = find(key);
  if (node == nullptr) return fallback;
  const char* expected = "a list of whole numbers, 0 or more";
  std::vector<std::int64_t> out;
  if (!node->is_array() || node->as_array()->empty()) wrong_type(key, expected);
  for (const auto& item : *node->as_array()) {
    if (!item.is_integer() || item.as_integer()->get() < 0) wrong_type(key, expected);
    out.push_back(item.as_integer()->get());
  }
  return out;
}

/// As it would be typed; of a list, its items parted by commas.
std::string TableReader::setting_text(const std::string& key, const toml::node& node, const Option& option) const {
  if (node.is_boolean() && option.type != Option::Type::flag) wrong_type(key, option.expectation());
  const auto* list = node.as_array();
  if (list == nullptr) return value_text(node);
  std::vector<std::string> values;
  for (const auto& item : *list) values.push_back(item.is_boolean() ? "" : value_text(item));
  const bool plain = std::none_of(values.begin(), values.end(), [](const auto& value) { return value.empty(); });
  if (!plain) wrong_type(key, "a number, a text, true, false or a list of numbers or texts");
  return join(values, ",");
}

Settings TableReader::settings(OptionSet& set, const std::vector<std::string>& keys) {
  Settings out;
  for (const auto& key : keys) {
    const auto* node = find(key);
    if (node == nullptr) continue;
    const auto& option = *set.find(key);
    const bool flag = option.type == Option::Type::flag, on = option.fallback == "true";
    const auto text = setting_text(key, *node, option);
    if (text.empty()) wrong_type(key, "a number, a text, true, false or a list of numbers or texts");
    set.assign(key, text, fmt::format("{}: {}", place(node->source()), key));
    if (flag && on && text == "false") refuse(key, "is on by default; no option turns it off");
    out[key] = {text, flag};
  }
  return out;
}

TableReader TableReader::table(const std::string& key) {
  static const toml::table none;
  const auto* node = find(key);
  if (node == nullptr) return TableReader(none);
  if (!node->is_table()) wrong_type(key, "a table");
  return TableReader(*node->as_table());
}

std::vector<TableReader> TableReader::tables(const std::string& key) {
  const auto* node = find(key);
  std::vector<TableReader> out;
  if (node == nullptr) return out;
  if (!node->is_array_of_tables()) wrong_type(key, fmt::format("tables, each below a line [[{}]]", key));
  for (const auto& item : *node->as_array()) out.emplace_back(*item.as_table());
  return out;
}

void TableReader::finish() const {
  for (const auto& [key, value] : table_) {
    if (asked_.contains(std::string(key.str()))) continue;
    fail(ErrorCode::usage, place(key.source()), "unknown key '{}'{}", key.str(),
         suggestion(key.str(), {asked_.begin(), asked_.end()}));
  }
}

}  // namespace quiver::recipes
