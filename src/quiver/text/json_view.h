// SPDX-License-Identifier: Apache-2.0
// A value in a parsed JSON file together with its place, so that every wrong type is one line naming file and key.
// For the sources of this folder that read files; the parsed document must outlive its views.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "quiver/base/error.h"
#include "quiver/base/files.h"

namespace quiver::text {

class JsonView {
 public:
  using Json = nlohmann::json;

  JsonView(const Json& value, std::string file, std::string key = "")
      : value_(&value), file_(std::move(file)), key_(std::move(key)) {}

  const Json& value() const { return *value_; }
  /// For messages: `tokenizer.json: model.type`.
  std::string place() const { return key_.empty() ? file_ : file_ + ": " + key_; }

  [[noreturn]] void wrong(const std::string& expected) const {
    fail(ErrorCode::format, place(), "expected {}, found {}", expected, value_->type_name());
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorCode::unsupported, place(), "{} is not supported", what);
  }

  bool is_null() const { return value_->is_null(); }
  /// Whether the member is there and not null.
  bool has(const char* name) const {
    if (!value_->is_object()) wrong("an object");
    const auto found = value_->find(name);
    return found != value_->end() && !found->is_null();
  }
  JsonView at(const char* name) const {
    QUIVER_CHECK(has(name), format, place(), "'{}' is missing", name);
    return {value_->at(name), file_, key_.empty() ? name : key_ + "." + name};
  }
  JsonView at(std::size_t index) const {
    if (!value_->is_array() || index >= value_->size()) wrong(fmt::format("an array of more than {} values", index));
    return {(*value_)[index], file_, fmt::format("{}[{}]", key_, index)};
  }
  std::size_t size() const {
    if (!value_->is_array()) wrong("an array");
    return value_->size();
  }

  const std::string& string() const {
    if (!value_->is_string()) wrong("a string");
    return value_->get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!value_->is_boolean()) wrong("true or false");
    return value_->get<bool>();
  }
  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    if (!value_->is_number_integer()) wrong("a whole number");
    const bool huge = value_->is_number_unsigned() && value_->get<std::uint64_t>() > std::uint64_t{1} << 62;
    const auto number = huge ? high : value_->get<std::int64_t>();
    QUIVER_CHECK(!huge && number >= low && number <= high, format, place(), "expected {} to {}, found {}", low, high,
                 value_->dump());
    return number;
  }
  bool boolean_or(const char* name, bool otherwise) const { return has(name) ? at(name).boolean() : otherwise; }
  std::string string_or(const char* name, const char* otherwise) const {
    return has(name) ? at(name).string() : otherwise;
  }

 private:
  const Json* value_;
  std::string file_, key_;
};

/// Parses `bytes`; an error names `file` and the position.
inline JsonView::Json parse_json(const std::string& bytes, const std::string& file) {
  try {
    return JsonView::Json::parse(bytes);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::format, file, "not JSON: {}", error.what());
  }
}

}  // namespace quiver::text
