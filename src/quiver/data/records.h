// SPDX-License-Identifier: Apache-2.0
// Records: the JSON objects of a text file, each with the place it stood at, and checked access to their fields.
//
// Limits: a line 16 MiB, nesting 32, so that a hostile file costs memory in proportion to its size at most.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::data {

inline constexpr std::size_t kMaxLineBytes = std::size_t{16} << 20;
inline constexpr int kMaxJsonDepth = 32;

struct Record {
  nlohmann::json value;  ///< an object
  std::string where;     ///< `file:line`, or `file, item n` in a JSON list
};

using RecordVisitor = std::function<void(const Record&)>;
using ValueVisitor = std::function<void(nlohmann::json&& value, const std::string& where)>;

/// Parses one JSON text; `where` opens the message of an error.
nlohmann::json parse_json(std::string_view text, const std::string& where);

/// Visits the values of JSON lines (blank lines are skipped) or, where the text opens with `[`, of one JSON list.
void visit_values(std::string_view text, const std::string& file, const ValueVisitor& visit);
/// The same of objects; anything else is an error.
void visit_records(std::string_view text, const std::string& file, const RecordVisitor& visit);

/// Field access. Each throws Error{format} naming place, key, what was expected and what came.
std::string text_field(const Record& record, const std::string& key);
std::string text_field_or(const Record& record, const std::string& key, const std::string& missing);
std::vector<std::string> text_list_field(const Record& record, const std::string& key);  ///< missing: empty
std::vector<Record> object_list_field(const Record& record, const std::string& key);     ///< each says where it stands
double number_field_or(const Record& record, const std::string& key, double missing);
/// Every key is in `known` (or is `id` or `metadata`, which are ignored); else the error names the nearest.
void check_keys(const Record& record, const std::vector<std::string>& known);

}  // namespace quiver::data
