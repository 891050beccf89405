// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver {
namespace {

using nlohmann::json;

std::string number_text(double value) { return fmt::format("{}", value); }

/// The whole text as a number; nothing where it is none.
template <typename Number>
std::optional<Number> parsed(const std::string& text) {
  Number out{};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end && !text.empty() ? std::optional(out) : std::nullopt;
}

[[noreturn]] void refuse(const Option& option, const std::string& value, const std::string& where) {
  fail(ErrorCode::usage, where, "'{}', expected {}", value, option.expectation());
}

std::optional<double> number_of_word(const Option& option, const std::string& value) {
  for (const auto& [word, number] : option.words) {
    if (word == value) return number;
  }
  return std::nullopt;
}

std::string word_or_number(const Option& option, double value, const std::string& text) {
  for (const auto& [word, number] : option.words) {
    if (number == value) return word;
  }
  return text;
}

}  // namespace

bool Range::contains(double value) const {
  if (!std::isfinite(value)) return false;
  return (above_low ? value > low : value >= low) && (below_high ? value < high : value <= high);
}

std::string Range::text() const {
  const bool from = std::isfinite(low), to = std::isfinite(high);
  if (from && to && !above_low && !below_high) return number_text(low) + " to " + number_text(high);
  if (from && to) {
    return fmt::format("{} {}, {} {}", above_low ? "above" : "at least", low, below_high ? "below" : "at most", high);
  }
  if (from) return above_low ? "above " + number_text(low) : number_text(low) + " or more";
  if (to) return below_high ? "below " + number_text(high) : number_text(high) + " or less";
  return "";
}

Range any_number() { return {}; }
Range at_least(double low) { return {.low = low}; }
Range above(double low) { return {.low = low, .above_low = true}; }
Range between(double low, double high) { return {.low = low, .high = high}; }
Range from_to_below(double low, double high) { return {.low = low, .high = high, .below_high = true}; }

std::string Option::expectation() const {
  std::vector<std::string> others;
  for (const auto& [word, number] : words) others.push_back(word);
  const auto also = others.empty() ? "" : " or " + join(others, " or ");
  const auto in = range.text().empty() ? "" : ", " + range.text();
  switch (type) {
    case Type::flag:
      return "true or false";
    case Type::integer:
      return "a whole number" + in + also;
    case Type::number:
      return "a number" + in + also;
    case Type::choice:
      return join(choices, ", ");
    case Type::text:
      return "text";
    case Type::texts:
      return "a list, parted by commas";
  }
  return "";
}

OptionSet& OptionSet::group(std::string name) {
  group_ = std::move(name);
  return *this;
}

Option& OptionSet::add(std::string name, Option::Type type, std::string help) {
  QUIVER_CHECK(find(name) == nullptr, usage, "options", "'{}' is described twice", name);
  auto& option = options_.emplace_back();
  option.name = std::move(name);
  option.group = group_;
  option.type = type;
  option.help = std::move(help);
  return option;
}

OptionSet& OptionSet::flag(std::string name, bool& value, std::string help) {
  auto& option = add(std::move(name), Option::Type::flag, std::move(help));
  option.assign = [&value](const std::string& text, const std::string& where) {
    QUIVER_CHECK(text == "true" || text == "false", usage, where, "'{}', expected true or false", text);
    value = text == "true";
  };
  option.text = [&value] { return std::string(value ? "true" : "false"); };
  option.json = [&value] { return json(value); };
  option.fallback = option.text();
  return *this;
}

OptionSet& OptionSet::flag_off(std::string name, bool& value, std::string help) {
  auto& option = add(std::move(name), Option::Type::flag, std::move(help));
  option.assign = [&value](const std::string& text, const std::string& where) {
    QUIVER_CHECK(text == "true" || text == "false", usage, where, "'{}', expected true or false", text);
    value = text == "false";
  };
  option.text = [&value] { return std::string(value ? "false" : "true"); };
  option.json = [&value] { return json(!value); };
  option.fallback = option.text();
  return *this;
}

namespace {

/// Assignment of a number to a field. The option is found anew, for the vector that holds it may have moved.
template <typename Number>
void describe_number(OptionSet& set, Option& option, Number& value, Range range) {
  option.range = range;
  const auto name = option.name;
  option.assign = [&set, &value, name](const std::string& text, const std::string& where) {
    const auto& own = *set.find(name);
    if (const auto word = number_of_word(own, text)) {
      value = static_cast<Number>(*word);
      return;
    }
    const auto number = parsed<Number>(text);
    if (!number || !own.range.contains(static_cast<double>(*number))) refuse(own, text, where);
    value = *number;
  };
  option.text = [&set, &value, name] {
    const auto* own = set.find(name);
    const auto text = fmt::format("{}", value);
    return own != nullptr ? word_or_number(*own, static_cast<double>(value), text) : text;
  };
  option.json = [&value] { return json(value); };
  option.fallback = fmt::format("{}", value);
}

}  // namespace

OptionSet& OptionSet::integer(std::string name, std::int64_t& value, Range range, std::string help) {
  describe_number(*this, add(std::move(name), Option::Type::integer, std::move(help)), value, range);
  return *this;
}

OptionSet& OptionSet::integer(std::string name, int& value, Range range, std::string help) {
  describe_number(*this, add(std::move(name), Option::Type::integer, std::move(help)), value, range);
  return *this;
}

OptionSet& OptionSet::integer(std::string name, std::uint64_t& value, Range range, std::string help) {
  describe_number(*this, add(std::move(name), Option::Type::integer, std::move(help)), value, range);
  return *this;
}

OptionSet& OptionSet::number(std::string name, double& value, Range range, std::string help) {
  describe_number(*this, add(std::move(name), Option::Type::number, std::move(help)), value, range);
  return *this;
}

OptionSet& OptionSet::text(std::string name, std::string& value, std::string help) {
  auto& option = add(std::move(name), Option::Type::text, std::move(help));
  option.assign = [&value](const std::string& text, const std::string&) { value = text; };
  option.text = [&value] { return value; };
  option.json = [&value] { return json(value); };
  option.fallback = value;
  return *this;
}

OptionSet& OptionSet::texts(std::string name, std::vector<std::string>& value, std::string help) {
  auto& option = add(std::move(name), Option::Type::texts, std::move(help));
  option.assign = [&value](const std::string& text, const std::string& where) {
    auto parts = split_outside_brackets(text);
    const bool empty = std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.empty(); });
    QUIVER_CHECK(!empty, usage, where, "'{}' has an empty part", text);
    value = std::move(parts);
  };
  option.text = [&value] { return join(value, ","); };
  option.json = [&value] { return json(value); };
  option.fallback = join(value, ",");
  return *this;
}

OptionSet& OptionSet::choice(std::string name, std::string& value, std::vector<std::string> choices, std::string help) {
  const auto place = [choices, &value] {
    return static_cast<std::size_t>(std::find(choices.begin(), choices.end(), value) - choices.begin());
  };
  return add_choice(
      std::move(name), choices, place, [choices, &value](std::size_t i) { value = choices[i]; }, std::move(help));
}

OptionSet& OptionSet::add_choice(std::string name, std::vector<std::string> names, std::function<std::size_t()> place,
                                 std::function<void(std::size_t)> choose, std::string help) {
  auto& option = add(std::move(name), Option::Type::choice, std::move(help));
  option.choices = names;
  option.assign = [names, choose](const std::string& text, const std::string& where) {
    const auto found = std::find(names.begin(), names.end(), text);
    QUIVER_CHECK(found != names.end(), usage, where, "'{}', expected {}", text, join(names, ", "));
    choose(static_cast<std::size_t>(found - names.begin()));
  };
  option.text = [names, place] {
    const auto at = place();
    return at < names.size() ? names[at] : std::string();
  };
  option.json = [text = option.text] { return json(text()); };
  option.fallback = option.text();
  return *this;
}

OptionSet& OptionSet::word(std::string word, double number) {
  auto& option = options_.back();
  option.words.emplace_back(std::move(word), number);
  option.fallback = option.text();
  return *this;
}

OptionSet& OptionSet::shown_default(std::string text) {
  options_.back().fallback = std::move(text);
  return *this;
}

void OptionSet::assign(const std::string& name, const std::string& value, const std::string& where) {
  const auto found = std::find_if(options_.begin(), options_.end(), [&](const auto& o) { return o.name == name; });
  QUIVER_CHECK(found != options_.end(), usage, where, "no option '{}'{}", name, suggestion(name, names()));
  QUIVER_CHECK(!found->given, usage, where, "'{}' is given twice", name);
  found->assign(value, where);
  found->given = true;
}

void OptionSet::assign_all(const std::vector<std::pair<std::string, std::string>>& values, const std::string& where) {
  for (const auto& [name, value] : values) assign(name, value, fmt::format("{} {}", where, name));
}

std::vector<std::string> OptionSet::names() const {
  std::vector<std::string> out;
  for (const auto& option : options_) out.push_back(option.name);
  return out;
}

const Option* OptionSet::find(const std::string& name) const {
  const auto found = std::find_if(options_.begin(), options_.end(), [&](const auto& o) { return o.name == name; });
  return found == options_.end() ? nullptr : &*found;
}

bool OptionSet::given(const std::string& name) const {
  const auto* option = find(name);
  return option != nullptr && option->given;
}

std::vector<std::string> OptionSet::given() const {
  std::vector<std::string> out;
  for (const auto& option : options_) {
    if (option.given) out.push_back(option.name);
  }
  return out;
}

json OptionSet::to_json() const { return to_json(names()); }

json OptionSet::to_json(const std::vector<std::string>& names) const {
  json out = json::object();
  for (const auto& option : options_) {
    if (std::find(names.begin(), names.end(), option.name) != names.end()) out[option.name] = option.json();
  }
  return out;
}

std::string OptionSet::summary() const {
  std::vector<std::string> out;
  for (const auto& option : options_) {
    auto values = option.type == Option::Type::flag      ? std::string("true|false")
                  : option.type == Option::Type::choice  ? join(option.choices, "|")
                  : option.type == Option::Type::integer ? std::string("N")
                  : option.type == Option::Type::number  ? std::string("X")
                                                         : std::string("TEXT");
    for (const auto& [word, number] : option.words) values += "|" + word;
    out.push_back(option.name + "=" + values);
  }
  return join(out, ",");
}

std::vector<std::string> split_outside_brackets(const std::string& text) {
  std::vector<std::string> out(1);
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      out.back() += c;
      out.back() += text[++i];
      continue;
    }
    if (c == '(' || c == '[' || c == '{') ++depth;
    if ((c == ')' || c == ']' || c == '}') && depth > 0) --depth;
    if (c == ',' && depth == 0) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

std::string command_line_name(const std::string& option) {
  auto out = "--" + option;
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

void check_ranges(const OptionSet& set) {
  for (const auto& option : set.options()) {
    if (option.type != Option::Type::integer && option.type != Option::Type::number) continue;
    if (!option.range.contains(option.json().get<double>()))
      refuse(option, option.text(), command_line_name(option.name));
  }
}

void refuse_unread(const OptionSet& set, const std::vector<std::string>& read, const std::string& who,
                   const std::function<std::vector<std::string>(const std::string& option)>& readers) {
  for (const auto& name : set.given()) {
    if (std::find(read.begin(), read.end(), name) != read.end()) continue;
    const auto others = readers ? readers(name) : std::vector<std::string>();
    fail(ErrorCode::usage, command_line_name(name), "{} does not read it{}", who,
         others.empty() ? "" : "; these do: " + join(others, ", "));
  }
}

}  // namespace quiver
