// SPDX-License-Identifier: Apache-2.0
// Reading a TOML table key by key, with what is wrong said by file and line.
#pragma once

#include <toml++/toml.h>
#include <set>
#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/recipes/recipe.h"

namespace quiver::recipes {

/// The file with `changes` (KEY=VALUE) put in. Throws Error{format|usage}.
toml::table read_toml(const fs::path& file, const std::vector<std::string>& changes);

/// Each key is asked for by name; `finish` refuses those that nobody asked for. Holds references into the table.
class TableReader {
 public:
  explicit TableReader(const toml::table& table) : table_(table) {}

  bool has(const std::string& key) const { return table_.contains(key); }
  std::string text(const std::string& key, const std::string& fallback = "");
  std::string required_text(const std::string& key);
  std::int64_t count(const std::string& key, std::int64_t fallback);
  bool flag(const std::string& key, bool fallback);
  std::vector<std::string> texts(const std::string& key);
  /// Numbers of 0 or more; at least one where the key is there.
  std::vector<std::int64_t> counts(const std::string& key, const std::vector<std::int64_t>& fallback);
  /// Those of `keys` that are there, assigned to the set, which describes them all. Throws Error{usage} at the line of
  /// a value that its description does not allow.
  Settings settings(OptionSet& set, const std::vector<std::string>& keys);
  /// A table below this one; an empty one where the key is missing.
  TableReader table(const std::string& key);
  std::vector<TableReader> tables(const std::string& key);
  /// Throws Error{usage} on a key that was not asked for, with the nearest one that could be.
  void finish() const;
  /// Throws Error{usage} at the line of `key`.
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;

 private:
  const toml::node* find(const std::string& key);
  std::string setting_text(const std::string& key, const toml::node& node, const Option& option) const;
  [[noreturn]] void wrong_type(const std::string& key, const std::string& expected) const;

  const toml::table& table_;
  std::set<std::string> asked_;
};

}  // namespace quiver::recipes
