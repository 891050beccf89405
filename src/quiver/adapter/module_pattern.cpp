// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/module_pattern.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

constexpr const char* kExpressionLetters = "*+?|()[]{}^$\\";

/// Splits an expression that is letters, digits, `_`, `-`, `.` and `\.` into letters and places where any letter will
/// do; false for every other expression.
bool plain(const std::string& expression, std::string& letters, std::string& any) {
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const auto c = static_cast<unsigned char>(expression[i]);
    const bool escaped = c == '\\' && i + 1 < expression.size() && expression[i + 1] == '.';
    if (escaped) ++i;
    const bool letter = c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '-');
    if (!escaped && !letter && c != '.') return false;
    letters += expression[i];
    any += c == '.' ? '1' : '0';
  }
  return !letters.empty();
}

/// The last parts of the sites' names, which users write.
std::string endings(const std::vector<model::Site>& sites) {
  constexpr std::size_t kShown = 12;
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const auto& site : sites) {
    const auto ending = site.name.substr(site.name.rfind('.') + 1);
    if (out.size() < kShown && seen.insert(ending).second) out.push_back(ending);
  }
  return join(out, ", ");
}

ModulePattern expression_of(const std::string& target, const std::string& option) {
  try {
    return ModulePattern::whole_path(target, option + " " + target);  // by which it is named where it runs away
  } catch (const Error& error) {
    fail(ErrorCode::usage, option, "'{}' is not a regular expression that can be read: {}", target, error.what());
  }
}

}  // namespace

ModulePattern ModulePattern::end_of_path(const std::string& expression, const std::string& where) {
  ModulePattern out;
  if (plain(expression, out.letters_, out.any_)) return out;
  out.regex_ = text::Regex::python("(.*\\.)?(" + expression + ")", where);
  return out;
}

ModulePattern ModulePattern::whole_path(const std::string& expression, const std::string& where) {
  ModulePattern out;
  out.regex_ = text::Regex::python(expression, where);
  return out;
}

bool ModulePattern::matches(std::string_view module) const {
  if (regex_) {
    thread_local text::MatchScratch scratch;
    return regex_->full_match(module, scratch);
  }
  const auto length = letters_.size();
  if (module.size() < length) return false;
  const auto begin = module.size() - length;
  if (begin > 0 && module[begin - 1] != '.') return false;
  for (std::size_t i = 0; i < length; ++i) {
    if (module[begin + i] != letters_[i] && any_[i] == '0') return false;
  }
  return true;
}

bool is_expression(const std::string& target) { return target.find_first_of(kExpressionLetters) != std::string::npos; }

std::vector<std::size_t> targeted_sites(const std::vector<model::Site>& sites, const std::vector<std::string>& targets,
                                        const std::string& option) {
  const bool every = targets.empty() || (targets.size() == 1 && targets[0] == "all-linear");
  std::set<std::size_t> chosen;
  for (std::size_t i = 0; every && i < sites.size(); ++i) chosen.insert(i);
  for (std::size_t t = 0; !every && t < targets.size(); ++t) {
    const auto& target = targets[t];
    const auto expression = is_expression(target) ? std::optional(expression_of(target, option)) : std::nullopt;
    bool any = false;
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const auto& name = sites[i].name;
      if (!(expression ? expression->matches(name) : name == target || name.ends_with("." + target))) continue;
      chosen.insert(i);
      any = true;
    }
    QUIVER_CHECK(any, usage, option, "'{}' matches no site; sites end in {}{}", target, endings(sites),
                 expression ? ", and an expression matches whole names" : "");
  }
  return {chosen.begin(), chosen.end()};
}

std::string escaped_module(const std::string& module) {
  std::string out;
  for (const char c : module) {
    if (std::string_view(".*+?|()[]{}^$\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace quiver::adapter
