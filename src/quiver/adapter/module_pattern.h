// SPDX-License-Identifier: Apache-2.0
// Names of modules as PEFT's configurations and --targets write them: plain names that stand for the end of a path, and
// regular expressions of Python's `re`.
//
// Expressions may come from files: they are compiled once, run with a limit on their steps, and never longer than that.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/model/model.h"
#include "quiver/text/regex.h"

namespace quiver::adapter {

/// Immutable; may be used by many threads at once.
class ModulePattern {
 public:
  /// What rank_pattern and alpha_pattern are keyed by: re.match(r"(.*\.)?(EXPRESSION)$", module).
  static ModulePattern end_of_path(const std::string& expression, const std::string& where);
  /// target_modules as one text: re.fullmatch(EXPRESSION, module).
  static ModulePattern whole_path(const std::string& expression, const std::string& where);

  /// Throws Error{format} where matching takes too many steps.
  bool matches(std::string_view module) const;
  /// False where it is letters and dots alone, which are compared and not searched for.
  bool is_expression() const { return regex_.has_value(); }

 private:
  ModulePattern() = default;
  std::string letters_;  // without an expression: what the path ends in,
  std::string any_;      // and where any letter will do ('1')
  std::optional<text::Regex> regex_;
};

/// True where an entry of --targets is a regular expression and no name: it holds a character that names do not.
bool is_expression(const std::string& target);

/// Numbers of the sites that `targets` name: by their name or its end after a dot, or by a regular expression over
/// whole names; no targets, and `all-linear` alone, name every site. Throws Error{usage} at `option` for each that
/// names no site, and for what is no expression.
std::vector<std::size_t> targeted_sites(const std::vector<model::Site>& sites, const std::vector<std::string>& targets,
                                        const std::string& option);

/// The name as an expression that matches nothing else: dots behind backslashes.
std::string escaped_module(const std::string& module);

}  // namespace quiver::adapter
