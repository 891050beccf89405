// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/declare_options.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::cli {
namespace {

std::string value_name(const Option& option) {
  std::vector<std::string> words;
  for (const auto& [word, number] : option.words) words.push_back(word);
  const auto also = words.empty() ? "" : "|" + join(words, "|");
  switch (option.type) {
    case Option::Type::integer:
      return "N" + also;
    case Option::Type::number:
      return "X" + also;
    case Option::Type::choice:
      return join(option.choices, "|");
    case Option::Type::texts:
      return "TEXT,...";
    default:
      return "TEXT";
  }
}

std::string help_of(const Option& option) {
  const auto range = option.range.text();
  return range.empty() ? option.help : option.help + " (" + range + ")";
}

CLI::Option* add(CLI::App& app, OptionSet& set, const Option& option) {
  const auto name = option.name, shown = command_line_name(name);
  if (option.type == Option::Type::flag)
    return app.add_flag_callback(
        shown, [&set, name, shown] { set.assign(name, "true", shown); }, option.help);
  if (option.type == Option::Type::texts) {
    const auto assign = [&set, name, shown](const std::vector<std::string>& parts) {
      set.assign(name, join(parts, ","), shown);
    };
    return app.add_option_function<std::vector<std::string>>(shown, assign, help_of(option));
  }
  const auto assign = [&set, name, shown](const std::string& value) { set.assign(name, value, shown); };
  return app.add_option_function<std::string>(shown, assign, help_of(option));
}

}  // namespace

void declare(CLI::App& app, OptionSet& set) {
  for (const auto& option : set.options()) {
    auto* declared = add(app, set, option);
    if (!option.group.empty()) declared->group(option.group);
    if (option.type == Option::Type::flag) continue;
    declared->type_name(value_name(option));
    if (!option.fallback.empty()) declared->default_str(option.fallback);
  }
}

std::vector<std::pair<std::string, std::string>> key_values(const std::vector<std::string>& settings,
                                                            const std::string& option) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& setting : settings) {
    const auto at = setting.find('=');
    QUIVER_CHECK(at != std::string::npos && at > 0, usage, option + " " + setting, "expected KEY=VALUE");
    out.emplace_back(setting.substr(0, at), setting.substr(at + 1));
  }
  return out;
}

}  // namespace quiver::cli
