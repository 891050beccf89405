// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/render.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/benchmarks/prompt_text.h"
#include "quiver/text/unicode.h"

namespace quiver::data {
namespace {

using Json = nlohmann::json;

const Json& field(const Record& record, const std::string& key) {
  const auto found = record.value.find(key);
  QUIVER_CHECK(found != record.value.end(), format, record.where, "key '{}': expected, but it is missing", key);
  return *found;
}

Record object_field(const Record& record, const std::string& key) {
  const auto& value = field(record, key);
  QUIVER_CHECK(value.is_object(), format, record.where, "key '{}': expected an object, came {}", key,
               value.type_name());
  return {value, record.where + ", " + key};
}

std::size_t index_field(const Record& record, const std::string& key) {
  const auto& value = field(record, key);
  QUIVER_CHECK(value.is_number_unsigned(), format, record.where, "key '{}': expected an index, came {}", key,
               value.dump().substr(0, 40));
  return value.get<std::size_t>();
}

/// The word of the record's label, which is a text, a truth value or a whole number.
std::string label_word(const Benchmark& benchmark, const Record& record) {
  const auto key = std::string(benchmark.label_field);
  const auto& value = field(record, key);
  const auto said = value.is_string() ? value.get<std::string>() : value.dump();
  std::vector<std::string> known;
  for (const auto& label : benchmark.labels) {
    if (label.value == said) return std::string(label.word);
    known.emplace_back(label.value);
  }
  fail(ErrorCode::format, record.where, "key '{}': expected one of {}, came '{}'", key, join(known, ", "),
       said.substr(0, 40));
}

std::vector<std::string> label_words(const Benchmark& benchmark) {
  std::vector<std::string> words;
  for (const auto& label : benchmark.labels) words.emplace_back(label.word);
  return words;
}

std::string prompt_of(const Benchmark& benchmark, const Record& record) {
  std::string prompt;
  for (const auto& part : benchmark.prompt) {
    if (!prompt.empty()) prompt += ' ';
    prompt += std::string(part.word) + ": " + text_field(record, std::string(part.field));
  }
  return prompt;
}

Example labelled(const Benchmark& benchmark, const Record& record, std::string source) {
  Example example;
  example.source = std::move(source);
  example.target = label_word(benchmark, record);
  example.options = label_words(benchmark);
  return example;
}

std::string rounded_score(const Record& record, const std::string& key) {
  const auto text = text_field(record, key);
  float score = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), score);
  QUIVER_CHECK(error == std::errc{} && end == text.data() + text.size() && std::isfinite(score), format, record.where,
               "key '{}': expected a number, came '{}'", key, text);
  return fmt::format("{:.1f}", std::nearbyint(static_cast<double>(score) * 10) / 10);
}

struct Span {
  std::string text;
  std::size_t index;
};

/// A span as the text has it: SuperGLUE's `wsc.fixed`. Some spans have another case than the word they point at, a full
/// stop or a line break.
Span fitting_span(const Record& target, const std::string& name, const std::string& text) {
  Span span{text_field(target, name + "_text"), index_field(target, name + "_index")};
  if (span.text.empty() || text.find(span.text) != std::string::npos) return span;
  std::size_t word = 0, at = text.find_first_not_of(" \t\r\n");
  for (; at != std::string::npos && word < span.index; ++word) {
    at = text.find_first_of(" \t\r\n", at);
    if (at != std::string::npos) at = text.find_first_not_of(" \t\r\n", at);
  }
  if (at == std::string::npos) return span;
  auto fixed = span.text;
  const auto first = static_cast<unsigned char>(fixed[0]);
  const bool lower = std::islower(static_cast<unsigned char>(text[at])) != 0;
  fixed[0] = static_cast<char>(lower ? std::tolower(first) : std::toupper(first));
  while (fixed.ends_with('.')) fixed.pop_back();
  for (auto& c : fixed) c = c == '\n' ? ' ' : c;
  if (text.find(fixed) != std::string::npos) span.text = fixed;
  return span;
}

/// The distinct pieces of a text from `start` to `end`, both included, counted in characters; in byte order.
std::vector<std::string> entities_of(const Record& passage, const std::string& text) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < text.size(); at += text::character_at(text, at).bytes) starts.push_back(at);
  starts.push_back(text.size());
  std::set<std::string> entities;
  for (const auto& entity : object_list_field(passage, "entities")) {
    const auto start = index_field(entity, "start"), end = index_field(entity, "end");
    QUIVER_CHECK(start <= end && end + 1 < starts.size(), format, entity.where,
                 "expected start <= end < {} characters, came {} and {}", starts.size() - 1, start, end);
    entities.insert(text.substr(starts[start], starts[end + 1] - starts[start]));
  }
  return {entities.begin(), entities.end()};
}

}  // namespace

void render_fields(const Benchmark& benchmark, const Record& record, std::vector<Item>& items) {
  items.push_back({labelled(benchmark, record, prompt_of(benchmark, record))});
}

void render_score(const Benchmark& benchmark, const Record& record, std::vector<Item>& items) {
  Example example;
  example.source = prompt_of(benchmark, record);
  example.target = rounded_score(record, std::string(benchmark.label_field));
  items.push_back({std::move(example)});
}

void render_multirc(const Benchmark& benchmark, const Record& record, std::vector<Item>& items) {
  const auto passage = object_field(record, "passage");
  const auto paragraph = strip_markup(text_field(passage, "text"));
  for (const auto& question : object_list_field(passage, "questions")) {
    const auto asked = strip_markup(text_field(question, "question"));
    for (const auto& answer : object_list_field(question, "answers")) {
      const auto text = strip_markup(text_field(answer, "text"));
      auto example =
          labelled(benchmark, answer, fmt::format("question: {} answer: {} paragraph: {}", asked, text, paragraph));
      example.group = std::to_string(index_field(question, "idx"));
      items.push_back({std::move(example)});
    }
  }
}

void render_wsc(const Benchmark& benchmark, const Record& record, std::vector<Item>& items) {
  const auto target = object_field(record, "target");
  auto text = text_field(record, "text");
  const auto noun = fitting_span(target, "span1", text), pronoun = fitting_span(target, "span2", text);
  text = mark_span(text, noun.text, noun.index, '*');
  // The two marks before the pronoun are words now.
  text = mark_span(text, pronoun.text, pronoun.index + (noun.index < pronoun.index ? 2 : 0), '#');
  items.push_back({labelled(benchmark, record, "text: " + text)});
}

void render_record(const Benchmark&, const Record& record, std::vector<Item>& items) {
  const auto passage = object_field(record, "passage");
  const auto text = text_field(passage, "text");
  const auto entities = entities_of(passage, text);
  for (const auto& question : object_list_field(record, "qas")) {
    std::set<std::string> answers;
    for (const auto& answer : object_list_field(question, "answers")) answers.insert(text_field(answer, "text"));
    QUIVER_CHECK(!answers.empty(), format, question.where, "key 'answers': expected at least one answer, came none");
    Example example;
    example.source = "record query: " + text_field(question, "query") + " entities: " + quiver::join(entities, ", ") +
                     " passage: " + join_highlights(text);
    example.options = entities;
    example.references = {answers.begin(), answers.end()};
    Item item;
    for (const auto& answer : answers) {
      example.target = answer;
      item.push_back(example);
    }
    items.push_back(std::move(item));
  }
}

void render_answer(const Benchmark&, const Record& record, std::vector<Item>& items) {
  Example example;
  example.source = "question: " + pad_punctuation(text_field(record, "question")) +
                   " context: " + pad_punctuation(text_field(record, "context"));
  example.target = trim(pad_punctuation(text_list_field(record, "answers").at(0)));
  items.push_back({std::move(example)});
}

void render_winogrande(const Benchmark&, const Record& record, std::vector<Item>& items) {
  const auto first = text_field(record, "option1"), second = text_field(record, "option2");
  const auto answer = text_field(record, "answer");
  QUIVER_CHECK(answer == "1" || answer == "2", format, record.where, "key 'answer': expected 1 or 2, came '{}'",
               answer);
  Example example;
  example.source = "sentence: " + text_field(record, "sentence") + " option1: " + first + " option2: " + second;
  example.target = answer == "1" ? first : second;
  example.options = {first, second};
  items.push_back({std::move(example)});
}

}  // namespace quiver::data
