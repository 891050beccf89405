// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/example_prompts.h"

#include <nlohmann/json.hpp>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/records.h"
#include "quiver/data/text_file.h"

namespace quiver::workspace {
namespace {

using nlohmann::json;

std::string prompt_of(const json& row, const std::string& where) {
  if (row.is_string()) return row.get<std::string>();
  QUIVER_CHECK(row.is_object(), format, where, "expected a text, or an object with 'prompt' or 'source', came {}",
               row.type_name());
  const data::Record record{row, where};
  return row.contains("prompt") ? data::text_field(record, "prompt") : data::text_field(record, "source");
}

std::vector<std::string> prompts_of(const fs::path& file) {
  const auto text = data::read_text_file(file);
  const auto extension = lower_ascii(file.extension().string());
  std::vector<std::string> out;
  if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") {
    data::visit_values(text, file.string(),
                       [&](json&& row, const std::string& where) { out.push_back(prompt_of(row, where)); });
    return out;
  }
  for (auto& line : split(text, '\n')) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!trim(line).empty()) out.push_back(std::move(line));
  }
  return out;
}

}  // namespace

std::vector<data::Task> read_example_prompts(const std::vector<std::string>& given, ExpertSet& experts) {
  std::vector<data::Task> out;
  std::set<std::string> seen;
  for (const auto& example : given) {
    const auto equals = example.find('=');
    QUIVER_CHECK(equals != std::string::npos && equals > 0 && equals + 1 < example.size(), usage, "--examples",
                 "'{}', expected NAME=FILE", example);
    const auto name = example.substr(0, equals);
    const fs::path file = example.substr(equals + 1);
    const auto expert = static_cast<std::size_t>(experts.bank->number(name));
    QUIVER_CHECK(seen.insert(name).second, usage, "--examples", "expert '{}' is given twice", name);
    auto& task = out.emplace_back();
    task.name = "examples of " + name;
    for (auto& prompt : prompts_of(file)) {
      QUIVER_CHECK(!trim(prompt).empty(), format, file.string(), "prompt {} is empty", task.examples.size() + 1);
      auto& row = task.examples.emplace_back();
      row.source = std::move(prompt);
      row.target = ".";  // an answer that nobody learns: prompts alone are looked at
    }
    QUIVER_CHECK(!task.examples.empty(), format, file.string(), "no prompt in it");
    experts.inputs.expert_tasks[expert] = {task.name};
  }
  return out;
}

}  // namespace quiver::workspace
