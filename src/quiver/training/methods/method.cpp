// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/method.h"

#include <algorithm>

#include "quiver/adapter/kind.h"

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

std::int64_t Method::vectors_before(const MethodOptions& options, const text::Tokenizer&,
                                    std::int64_t of_sources) const {
  const auto& kinds = options.train.kind.kinds;
  const bool trained = std::any_of(kinds.begin(), kinds.end(), [](const auto& name) {
    const auto traits = adapter::kind_of_name(name).traits;
    return traits.has(adapter::Trait::vectors) || traits.has(adapter::Trait::keys_values);
  });
  return std::max(of_sources, trained ? options.train.kind.prompt_tokens : 0);
}

const std::vector<std::string>& options_of_the_run() {
  static const std::vector<std::string> names{
      "library",         "output",    "name",         "clusters",           "together",  "replace",
      "limit",           "recompute", "micro_tokens", "checkpoint_seconds", "init_from", "validation_limit",
      "allow_other_base"};
  return names;
}

nlohmann::json deciding_options(const MethodOptions& options, const std::vector<std::string>& reads) {
  const auto& others = options_of_the_run();
  auto copy = options;
  OptionSet set;
  describe(copy, set);
  std::vector<std::string> names;
  for (const auto& name : reads) {
    if (std::find(others.begin(), others.end(), name) == others.end()) names.push_back(name);
  }
  return set.to_json(names);
}

}  // namespace quiver::training
