// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/natural_instructions.h"

#include <algorithm>
#include <cctype>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

using Json = nlohmann::json;

std::string sentence(std::string_view text) {
  auto trimmed = trim(text);
  const bool ends = !trimmed.empty() && std::ispunct(static_cast<unsigned char>(trimmed.back()));
  return ends ? trimmed : trimmed + ".";
}

/// Definition is a text or a list whose first text counts.
std::string definition_of(const Json& document, const std::string& file) {
  const auto found = document.find("Definition");
  QUIVER_CHECK(found != document.end(), format, file, "key 'Definition': expected a text, but the key is missing");
  const auto& text = found->is_array() && !found->empty() ? found->front() : *found;
  QUIVER_CHECK(text.is_string(), format, file, "key 'Definition': expected a text, came {}", text.type_name());
  return text.get<std::string>();
}

const Json& list_of(const Json& document, const char* key, const std::string& file) {
  const auto found = document.find(key);
  QUIVER_CHECK(found != document.end() && found->is_array(), format, file, "key '{}': expected a list", key);
  return *found;
}

Record item_of(const Json& list, std::size_t index, const std::string& where) {
  const auto item_where = fmt::format("{} {}", where, index + 1);
  QUIVER_CHECK(list[index].is_object(), format, item_where, "expected an object, came {}", list[index].type_name());
  return {list[index], item_where};
}

std::string worked_examples(const Json& document, const std::string& file, int count) {
  if (count == 0) return "";
  const auto& list = list_of(document, "Positive Examples", file);
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(count, list.size()); ++i) {
    const auto item = item_of(list, i, file + ", Positive Examples");
    text += fmt::format("Positive example {} -\nInput: {}\nOutput: {}\n", i + 1, sentence(text_field(item, "input")),
                        sentence(text_field(item, "output")));
  }
  return text;
}

std::vector<std::string> outputs_of(const Record& instance) {
  const auto found = instance.value.find("output");
  if (found != instance.value.end() && found->is_string()) return {found->get<std::string>()};
  auto outputs = text_list_field(instance, "output");
  QUIVER_CHECK(!outputs.empty(), format, instance.where, "key 'output': expected at least one text");
  return outputs;
}

}  // namespace

bool is_natural_instructions(const Json& document) {
  return document.is_object() && document.contains("Definition") && document.contains("Instances");
}

std::vector<Example> read_natural_instructions(const Json& document, const std::string& file, int positive_examples) {
  const auto head = fmt::format(
      "Task definition: {}\n{}Now complete the following example -\nInput: ", sentence(definition_of(document, file)),
      worked_examples(document, file, positive_examples));
  const auto& instances = list_of(document, "Instances", file);
  std::vector<Example> examples;
  for (std::size_t i = 0; i < instances.size(); ++i) {
    const auto instance = item_of(instances, i, file + ", Instances");
    Example example;
    example.where = instance.where;
    example.source = head + sentence(text_field(instance, "input")) + "\nOutput:";
    example.references = outputs_of(instance);
    example.target = example.references.front();
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace quiver::data
