// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/method.h"

#include <algorithm>
#include <array>

namespace quiver::training {

nlohmann::json to_json(const Learned& l) {
  auto out = to_json(l.figures);
  out[l.what] = l.name;
  out["path"] = l.path.string();
  out["already_there"] = l.already_there;
  out.update(l.more);
  return out;
}

std::vector<std::string> common_options() {
  auto out = options_of_groups({"rows", "optimisation"});
  out.insert(out.end(), {"method", "replace"});
  return out;
}

std::vector<std::string> library_options() { return {"library", "name", "allow_other_base"}; }

nlohmann::json deciding_options(const MethodOptions& options, const std::vector<std::string>& reads) {
  // Where results go, and what changes only time and memory.
  static constexpr std::array kOthers{
      "library",         "output",    "name",         "clusters",           "together",  "replace",
      "limit",           "recompute", "micro_tokens", "checkpoint_seconds", "init_from", "validation_limit",
      "allow_other_base"};
  auto copy = options;
  OptionSet set;
  describe(copy, set);
  std::vector<std::string> names;
  for (const auto& name : reads) {
    if (std::find(kOthers.begin(), kOthers.end(), name) == kOthers.end()) names.push_back(name);
  }
  return set.to_json(names);
}

}  // namespace quiver::training
