// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/merge_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::merging {
namespace {

using O = MergeOptions;

const MethodHelp& help_of(const std::string& method) {
  std::vector<std::string> names;
  for (const auto& help : merge_table()) {
    if (help.name == method) return help;
    names.push_back(help.name);
  }
  fail(ErrorCode::usage, "merge", "no method '{}'{}", method, suggestion(method, names));
}

/// `density=D,sign=total|frequency` as {density, {D}}, {sign, {total, frequency}}.
std::vector<std::pair<std::string, std::vector<std::string>>> read_by(const MethodHelp& help) {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const auto& part : split(help.options, ',')) {
    const auto at = part.find('=');
    out.emplace_back(part.substr(0, at), split(part.substr(at + 1), '|'));
  }
  return out;
}

/// Throws where the method does not read the option, or not this word of it.
void check_read(const MethodHelp& help, const Option* option, const std::string& key, const std::string& value,
                const std::string& where) {
  std::vector<std::string> keys;
  for (const auto& [name, words] : read_by(help)) {
    keys.push_back(name);
    if (name != key) continue;
    const bool chosen = option != nullptr && option->type == Option::Type::choice;
    QUIVER_CHECK(!chosen || std::find(words.begin(), words.end(), value) != words.end(), usage, where, "{}={}{}", key,
                 value, suggestion(value, words));
    return;
  }
  if (keys.empty()) fail(ErrorCode::usage, where, "no option '{}': it has none", key);
  fail(ErrorCode::usage, where, "no option '{}'{}", key, suggestion(key, keys));
}

}  // namespace

DescribedOptions::DescribedOptions(const MergeOptions& options) : base(options) {
  combine = options.combine.value_or(combine);
  rescale = options.rescale.value_or(rescale);
  density = options.density.value_or(density);
  t = options.t.value_or(t);
}

MergeOptions DescribedOptions::options(const OptionSet& set) const {
  auto out = base;
  if (set.given("combine")) out.combine = combine;
  if (set.given("rescale")) out.rescale = rescale;
  if (set.given("density")) out.density = density;
  if (set.given("t")) out.t = t;
  return out;
}

void describe(DescribedOptions& o, OptionSet& set) {
  set.choice("convention", o.base.convention,
             {{"peft", O::Convention::peft}, {"mttl", O::Convention::mttl}, {"mergekit", O::Convention::mergekit}},
             "the implementation to follow where they differ")
      .choice("combine", o.combine, {{"factors", O::Combine::factors}, {"products", O::Combine::products}},
              "what is combined: A and B each for itself, or B A")
      .shown_default("the method's")
      .number("density", o.density, {.low = 0.0, .high = 1.0, .above_low = true}, "share of entries that are kept")
      .shown_default("the method's")
      .integer("rank", o.base.rank, at_least(0), "of the result; 0: the method's")
      .choice("sign", o.base.sign, {{"total", O::Sign::total}, {"frequency", O::Sign::frequency}},
              "how an entry's sign is elected")
      .choice("rescale", o.rescale,
              {{"probability", O::Rescale::probability}, {"l1", O::Rescale::l1}, {"none", O::Rescale::none}},
              "what follows a random choice of entries")
      .shown_default("the convention's")
      .number("lambda", o.base.lambda, any_number(), "factor on the merged difference")
      .number("gamma", o.base.gamma, from_to_below(0, 1), "share of the largest entries that is dropped")
      .number("epsilon", o.base.epsilon, from_to_below(0, 0.5), "half the range of the chances of being kept")
      .number("t", o.t, between(0, 1), "share of the second (next) expert")
      .shown_default("the method's")
      .number("learning_rate", o.base.learning_rate, above(0), "of Adam")
      .integer("iterations", o.base.iterations, at_least(0), "most steps of Adam")
      .integer("seed", o.base.seed, at_least(0), "of the random choices")
      .choice("granularity", o.base.granularity, {{"fine", O::Granularity::fine}, {"coarse", O::Granularity::coarse}},
              "coefficients for each tensor, or one set for all")
      .choice("step", o.base.step, {"linear", "ties", "dare-ties"}, "how two are merged");
}

void check_ranges(const MergeOptions& options, const std::string& where) {
  DescribedOptions described(options);
  OptionSet set;
  describe(described, set);
  for (const auto& option : set.options()) {
    const bool number = option.type == Option::Type::number || option.type == Option::Type::integer;
    QUIVER_CHECK(!number || option.range.contains(option.json().get<double>()), usage, where, "{}={}, expected {}",
                 option.name, option.text(), option.expectation());
  }
}

MergeOptions merge_options(const std::string& method,
                           const std::vector<std::pair<std::string, std::string>>& settings) {
  const auto& help = help_of(method);
  const auto where = "merge " + method;
  DescribedOptions described{MergeOptions{}};
  OptionSet set;
  describe(described, set);
  for (const auto& [key, value] : settings) check_read(help, set.find(key), key, value, where);
  set.assign_all(settings, where);
  return described.options(set);
}

}  // namespace quiver::merging
