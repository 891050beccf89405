// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/row_findings.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

struct Words {
  const char* key;   ///< in JSON
  const char* text;  ///< after "3 of 10 rows"
};

/// By RowFinding.
constexpr std::array<Words, 11> kWords = {
    {{"cut", "were cut: longer than --max-tokens or than the model's context"},
     {"target_cut", "lost tokens of their target with that"},
     {"prompt_cut", "were cut further before the answer, which needs room for --max-new-tokens"},
     {"weightless", "have weight 0: they count in no loss"},
     {"empty_source", "have an empty source"},
     {"empty_target", "have an empty target: its end is all there is to learn"},
     {"without_options", "have no options, others do: all are scored by exact match, answers are generated there"},
     {"outside_options", "have a target that is none of their options or labels, and count as wrong"},
     {"spaced_options",
      "have a target that is among their options but for white space at the ends, which is passed over"},
     {"long_answer", "have a target of more tokens than --max-new-tokens, which no answer can match"},
     {"left_out", "are left out"}}};

bool same_but_for_space(const std::vector<std::string>& options, const std::vector<std::string>& right) {
  return std::any_of(options.begin(), options.end(), [&](const auto& option) {
    return std::any_of(right.begin(), right.end(), [&](const auto& answer) { return trim(option) == trim(answer); });
  });
}

bool contains_any(const std::vector<std::string>& options, const std::vector<std::string>& right) {
  return std::any_of(right.begin(), right.end(), [&](const auto& answer) {
    return std::find(options.begin(), options.end(), answer) != options.end();
  });
}

}  // namespace

RowFindings::RowFindings(std::string task, std::string what, std::size_t rows)
    : task_(std::move(task)), what_(std::move(what)), rows_(rows), entries_(kWords.size()) {}

void RowFindings::add(RowFinding finding, const Task& task, std::size_t example, const std::string& detail) {
  auto& entry = entries_[static_cast<std::size_t>(finding)];
  if (entry.count++ == 0) entry.first = task.place(example) + (detail.empty() ? "" : ": " + detail);
}

std::size_t RowFindings::count(RowFinding finding) const { return entries_[static_cast<std::size_t>(finding)].count; }

std::vector<std::string> RowFindings::lines() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto& [count, first] = entries_[i];
    if (count > 0)
      out.push_back(fmt::format("task {}, {}: {} of {} rows {}; the first is {}", task_, what_, count, rows_,
                                kWords[i].text, first));
  }
  return out;
}

nlohmann::json RowFindings::json() const {
  auto out = nlohmann::json::object();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].count > 0) out[kWords[i].key] = entries_[i].count;
  }
  return out;
}

void look_at_texts(const Task& task, const std::vector<std::size_t>& rows, RowFindings& findings) {
  for (const auto i : rows) {
    const auto& example = task.examples[i];
    if (example.weight == 0) findings.add(RowFinding::weightless, task, i);
    if (example.source.empty() && example.messages.empty()) findings.add(RowFinding::empty_source, task, i);
    if (example.target.empty()) findings.add(RowFinding::empty_target, task, i);
  }
}

void look_at_options(const Task& task, const std::vector<std::size_t>& rows, const std::vector<std::string>& labels,
                     RowFindings& findings) {
  const bool some = std::any_of(rows.begin(), rows.end(), [&](auto i) { return !task.examples[i].options.empty(); });
  for (const auto i : rows) {
    const auto& example = task.examples[i];
    const auto& choices = example.options.empty() ? labels : example.options;
    const auto right = example.right_answers();
    if (choices.empty()) {
      if (some) findings.add(RowFinding::without_options, task, i);
    } else if (!same_but_for_space(choices, right)) {
      findings.add(RowFinding::outside_options, task, i,
                   fmt::format("'{}' is none of '{}'", right.front(), join(choices, "', '")));
    } else if (!contains_any(choices, right)) {
      findings.add(RowFinding::spaced_options, task, i);
    }
  }
}

}  // namespace quiver::data
