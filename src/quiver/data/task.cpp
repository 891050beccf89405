// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/task.h"

#include <array>
#include <utility>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

constexpr std::array<std::pair<std::string_view, Split>, 3> kSplits = {
    {{"train", Split::train}, {"validation", Split::validation}, {"test", Split::test}}};

constexpr std::array<std::pair<std::string_view, Format>, 7> kFormats = {
    {{"auto", Format::automatic},
     {"rows", Format::rows},
     {"messages", Format::messages},
     {"alpaca", Format::alpaca},
     {"natural-instructions", Format::natural_instructions},
     {"csv", Format::csv},
     {"tsv", Format::tsv}}};

template <typename Table>
auto named(const Table& table, std::string_view name, const char* what) {
  std::vector<std::string> known;
  for (const auto& [key, value] : table) {
    if (key == name) return value;
    known.emplace_back(key);
  }
  fail(ErrorCode::usage, what, "unknown name '{}'{}", name, suggestion(name, known));
}

}  // namespace

std::string split_name(Split split) { return std::string(kSplits[static_cast<std::size_t>(split)].first); }

Split split_from_name(std::string_view name) { return named(kSplits, name, "split"); }

Format format_from_name(std::string_view name) { return named(kFormats, name, "task format"); }

std::vector<std::string> Example::right_answers() const {
  return references.empty() ? std::vector<std::string>{target} : references;
}

std::vector<std::size_t> Task::rows(Split split, std::int64_t limit) const {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (limit > 0 && indices.size() == static_cast<std::size_t>(limit)) break;
    if (examples[i].split == split) indices.push_back(i);
  }
  return indices;
}

std::string Task::place(std::size_t example) const {
  const auto& where = examples[example].where;
  return where.empty() ? fmt::format("row {}", example + 1) : fmt::format("row {} ({})", example + 1, where);
}

}  // namespace quiver::data
