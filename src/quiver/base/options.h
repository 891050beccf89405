// SPDX-License-Identifier: Apache-2.0
// Options described once: name, type, range, default and help, bound to the fields of a plain struct.
//
// From a description come the command line's option, the keys of recipes, `--set` and routes, the JSON that is stored
// with results, and the rows of the documents. A struct's description is a function beside it,
// `void describe(LoraOptions& options, OptionSet& set)`; a field's default is its value when it is described. What is
// described must outlive the set.
//
// A set also knows which of its options were given, so that a method can refuse those that it does not read.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace quiver {

/// The values that a number may take; NaN is never one.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool above_low = false;   ///< `low` itself is out
  bool below_high = false;  ///< `high` itself is out

  bool contains(double value) const;
  /// `above 0`, `0 or more`, `0 to 1`, `at least 0, below 1`; empty where every number is in.
  std::string text() const;
};

/// Any finite number.
Range any_number();
Range at_least(double low);
Range above(double low);
Range between(double low, double high);
/// At least `low`, below `high`.
Range from_to_below(double low, double high);

struct Option {
  enum class Type { flag, integer, number, choice, text, texts };

  std::string name;   ///< learning_rate: --learning-rate on the command line, learning_rate elsewhere
  std::string group;  ///< what belongs together in help and documents
  std::string help;
  Type type = Type::text;
  Range range;                                        ///< of numbers
  std::vector<std::string> choices;                   ///< of a choice, as they are typed
  std::vector<std::pair<std::string, double>> words;  ///< words that stand for a number (all: 0)
  std::string fallback;                               ///< the default, as it is typed
  bool given = false;

  /// What may follow the name: `0 or more`, `peft|mttl|pemt`, `text`.
  std::string expectation() const;

  std::function<void(const std::string& value, const std::string& where)> assign;
  std::function<std::string()> text;  ///< the value as it would be typed
  std::function<nlohmann::json()> json;
};

/// Neither copied nor moved: what is described points into it.
class OptionSet {
 public:
  OptionSet() = default;
  OptionSet(const OptionSet&) = delete;
  OptionSet& operator=(const OptionSet&) = delete;

  /// Options described from here on belong to this group.
  OptionSet& group(std::string name);

  OptionSet& flag(std::string name, bool& value, std::string help);
  /// A flag that turns `value` off: no_shuffle.
  OptionSet& flag_off(std::string name, bool& value, std::string help);
  OptionSet& integer(std::string name, std::int64_t& value, Range range, std::string help);
  OptionSet& integer(std::string name, int& value, Range range, std::string help);
  OptionSet& integer(std::string name, std::uint64_t& value, Range range, std::string help);
  OptionSet& number(std::string name, double& value, Range range, std::string help);
  OptionSet& text(std::string name, std::string& value, std::string help);
  /// Several, parted by commas; a comma within brackets parts nothing, so that expressions with {1,2} stay whole.
  OptionSet& texts(std::string name, std::vector<std::string>& value, std::string help);
  template <typename Enum>
  OptionSet& choice(std::string name, Enum& value, std::vector<std::pair<std::string, Enum>> choices,
                    std::string help) {
    std::vector<std::string> names;
    for (const auto& [text, own] : choices) names.push_back(text);
    const auto place = [choices, &value] {
      for (std::size_t i = 0; i < choices.size(); ++i) {
        if (choices[i].second == value) return i;
      }
      return choices.size();
    };
    return add_choice(
        std::move(name), std::move(names), place, [choices, &value](std::size_t i) { value = choices[i].second; },
        std::move(help));
  }
  /// A text that is one of these.
  OptionSet& choice(std::string name, std::string& value, std::vector<std::string> choices, std::string help);
  /// A word that the option described last also takes, and the number that it stands for.
  OptionSet& word(std::string word, double number);
  /// What help and documents say is the default of the option described last, where it follows from other options.
  OptionSet& shown_default(std::string text);

  /// Sets an option from text. Throws Error{usage} at `where` on an unknown name (with the nearest), a value of the
  /// wrong type or out of range, and an option that was given before.
  void assign(const std::string& name, const std::string& value, const std::string& where);
  /// The same for each KEY=VALUE.
  void assign_all(const std::vector<std::pair<std::string, std::string>>& values, const std::string& where);

  const std::vector<Option>& options() const { return options_; }
  std::vector<std::string> names() const;
  const Option* find(const std::string& name) const;
  bool given(const std::string& name) const;
  std::vector<std::string> given() const;
  /// {name: value} of all options, or of those in `names`.
  nlohmann::json to_json() const;
  nlohmann::json to_json(const std::vector<std::string>& names) const;
  /// `top_k=N|all,temperature=above 0`: for one line of help.
  std::string summary() const;

 private:
  Option& add(std::string name, Option::Type type, std::string help);
  OptionSet& add_choice(std::string name, std::vector<std::string> names, std::function<std::size_t()> place,
                        std::function<void(std::size_t)> choose, std::string help);
  std::string group_;
  std::vector<Option> options_;
};

/// Parts at commas that stand in no bracket. Empty parts are kept.
std::vector<std::string> split_outside_brackets(const std::string& text);

/// `--learning-rate`.
std::string command_line_name(const std::string& option);

/// Throws Error{usage} naming the first number that is out of its range: for structs that were filled in code.
void check_ranges(const OptionSet& set);

/// Throws Error{usage} naming the first option that was given and is not among `read`: `who` does not read it, and
/// `readers` (may be empty) of its name are who does.
void refuse_unread(const OptionSet& set, const std::vector<std::string>& read, const std::string& who,
                   const std::function<std::vector<std::string>(const std::string& option)>& readers = nullptr);

}  // namespace quiver
