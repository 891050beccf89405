// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/strict_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "quiver/base/error.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
using Event = json::parse_event_t;

/// Follows the parser through objects and lists; throws as soon as a limit is passed, so that nothing is built on.
class Watcher {
 public:
  Watcher(const JsonLimits& limits, const std::string& where) : limits_(limits), where_(where) {}

  bool operator()(int, Event event, const json& value) {
    if (event == Event::key) {
      const bool added = open_.back().keys.insert(value.get<std::string>()).second;
      QUIVER_CHECK(added, format, where_, "key {} stands twice", excerpt(value));
      return true;
    }
    const bool begins = event == Event::object_start || event == Event::array_start;
    if (begins || event == Event::value) count_entry();
    if (begins) open(event == Event::array_start);
    if (event == Event::object_end || event == Event::array_end) open_.pop_back();
    return true;
  }

 private:
  struct Level {
    bool is_list;
    std::size_t entries;
    std::set<std::string> keys;  ///< of an object
  };

  void count_entry() {
    if (open_.empty() || !open_.back().is_list) return;
    QUIVER_CHECK(++open_.back().entries <= limits_.list_entries, format, where_, "a list has more than {} entries",
                 limits_.list_entries);
  }

  void open(bool is_list) {
    QUIVER_CHECK(open_.size() < static_cast<std::size_t>(limits_.depth), format, where_,
                 "the JSON is nested deeper than {} levels", limits_.depth);
    open_.push_back({is_list, 0, {}});
  }

  const JsonLimits& limits_;
  const std::string& where_;
  std::vector<Level> open_;
};

}  // namespace

json parse_strict_json(std::string_view text, const JsonLimits& limits, const std::string& where) {
  Watcher watcher(limits, where);
  // The parser copies its callback; the lambda keeps one state.
  const auto callback = [&watcher](int depth, Event event, json& value) { return watcher(depth, event, value); };
  auto parsed = json::parse(text.begin(), text.end(), callback, false);
  QUIVER_CHECK(parsed.is_object(), format, where, "expected a JSON object in UTF-8, {}",
               parsed.is_discarded() ? "this is not valid JSON" : "this is another value");
  return parsed;
}

std::string excerpt(const json& value) {
  constexpr std::size_t kShown_bytes = 60;
  if (value.is_structured() && value.size() > 20) {
    return fmt::format("{} of {} entries", value.is_array() ? "a list" : "an object", value.size());
  }
  auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);  // ASCII, so that it can be cut anywhere
  if (text.size() > kShown_bytes) text = text.substr(0, kShown_bytes) + "...";
  return text;
}

}  // namespace quiver::tensor_io
