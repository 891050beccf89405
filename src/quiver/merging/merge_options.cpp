// SPDX-License-Identifier: Apache-2.0
// Settings as text. What a method reads, and which words a setting takes, stands in its table entry and nowhere else.
#include <charconv>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/merging/merge.h"

namespace quiver::merging {
namespace {

struct Setting {
  std::string key, value, where;

  double number() const {
    double out = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    QUIVER_CHECK(error == std::errc() && end == value.data() + value.size() && std::isfinite(out), usage, where,
                 "{}={}, expected a number", key, value);
    return out;
  }
  template <typename Integer>
  Integer whole() const {
    Integer out = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    QUIVER_CHECK(error == std::errc() && end == value.data() + value.size(), usage, where,
                 "{}={}, expected a whole number", key, value);
    return out;
  }
  /// One of the words, by position; `words` as the table spells them, values of the enum in the same order.
  template <typename Enum>
  Enum choice(const std::vector<std::pair<const char*, Enum>>& words) const {
    for (const auto& [word, meaning] : words) {
      if (value == word) return meaning;
    }
    fail(ErrorCode::usage, where, "{}={} is not one of its values", key, value);
  }
};

using O = MergeOptions;
using Apply = void (*)(O&, const Setting&);

const std::vector<std::pair<const char*, Apply>>& setters() {
  static const std::vector<std::pair<const char*, Apply>> table{
      {"convention",
       [](O& o, const Setting& s) {
         o.convention = s.choice<O::Convention>(
             {{"peft", O::Convention::peft}, {"mttl", O::Convention::mttl}, {"mergekit", O::Convention::mergekit}});
       }},
      {"combine",
       [](O& o, const Setting& s) {
         o.combine = s.choice<O::Combine>({{"factors", O::Combine::factors}, {"products", O::Combine::products}});
       }},
      {"sign",
       [](O& o, const Setting& s) {
         o.sign = s.choice<O::Sign>({{"total", O::Sign::total}, {"frequency", O::Sign::frequency}});
       }},
      {"rescale",
       [](O& o, const Setting& s) {
         o.rescale = s.choice<O::Rescale>(
             {{"probability", O::Rescale::probability}, {"l1", O::Rescale::l1}, {"none", O::Rescale::none}});
       }},
      {"granularity",
       [](O& o, const Setting& s) {
         o.granularity = s.choice<O::Granularity>({{"fine", O::Granularity::fine}, {"coarse", O::Granularity::coarse}});
       }},
      {"density", [](O& o, const Setting& s) { o.density = s.number(); }},
      {"rank", [](O& o, const Setting& s) { o.rank = s.whole<std::int64_t>(); }},
      {"lambda", [](O& o, const Setting& s) { o.lambda = s.number(); }},
      {"gamma", [](O& o, const Setting& s) { o.gamma = s.number(); }},
      {"epsilon", [](O& o, const Setting& s) { o.epsilon = s.number(); }},
      {"t", [](O& o, const Setting& s) { o.t = s.number(); }},
      {"learning_rate", [](O& o, const Setting& s) { o.learning_rate = s.number(); }},
      {"iterations", [](O& o, const Setting& s) { o.iterations = s.whole<std::int64_t>(); }},
      {"seed", [](O& o, const Setting& s) { o.seed = s.whole<std::uint64_t>(); }},
      {"step", [](O& o, const Setting& s) { o.step = s.value; }},
  };
  return table;
}

const MethodHelp& help_of(const std::string& method) {
  std::vector<std::string> names;
  for (const auto& help : merge_table()) {
    if (help.name == method) return help;
    names.push_back(help.name);
  }
  fail(ErrorCode::usage, "merge", "no method '{}'{}", method, suggestion(method, names));
}

/// `density=D,sign=total|frequency` as {density, {D}}, {sign, {total, frequency}}.
std::vector<std::pair<std::string, std::vector<std::string>>> known_settings(const MethodHelp& help) {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const auto& part : split(help.options, ',')) {
    const auto at = part.find('=');
    out.emplace_back(part.substr(0, at), split(part.substr(at + 1), '|'));
  }
  return out;
}

void check_known(const MethodHelp& help, const Setting& setting) {
  std::vector<std::string> keys;
  for (const auto& [key, words] : known_settings(help)) {
    keys.push_back(key);
    if (key != setting.key) continue;
    if (words.size() < 2) return;
    for (const auto& word : words) {
      if (word == setting.value) return;
    }
    fail(ErrorCode::usage, setting.where, "{}={}{}", key, setting.value, suggestion(setting.value, words));
  }
  if (keys.empty()) fail(ErrorCode::usage, setting.where, "no option '{}': it has none", setting.key);
  fail(ErrorCode::usage, setting.where, "no option '{}'{}", setting.key, suggestion(setting.key, keys));
}

}  // namespace

MergeOptions merge_options(const std::string& method,
                           const std::vector<std::pair<std::string, std::string>>& settings) {
  const auto& help = help_of(method);
  MergeOptions out;
  for (const auto& [key, value] : settings) {
    const Setting setting{key, value, "merge " + method};
    check_known(help, setting);
    for (const auto& [name, apply] : setters()) {
      if (key == name) apply(out, setting);
    }
  }
  return out;
}

}  // namespace quiver::merging
