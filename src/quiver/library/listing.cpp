// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/listing.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::library {
namespace {

using nlohmann::json;

/// The kinds that an expert was trained as; empty where nothing is known of its training.
std::vector<std::string> kinds_of(const json& training) {
  if (!training.contains("options") || !training["options"].is_object()) return {};
  const auto kind = training["options"].value("kind", json());
  if (!kind.is_object()) return {"lora"};
  return kind.value("kinds", std::vector<std::string>{});
}

bool has_rank(const std::string& kind) { return kind == "lora" || kind == "dora" || kind == "vera"; }

}  // namespace

std::vector<std::string> choose_experts(const Library& library, const std::vector<std::string>& names,
                                        const std::vector<std::string>& without) {
  for (const auto& name : names) library.info(name);  // throws where there is none
  for (const auto& name : without) library.info(name);
  std::vector<std::string> out;
  for (const auto& name : names.empty() ? library.names() : names) {
    const bool left_out = std::find(without.begin(), without.end(), name) != without.end();
    if (!left_out && std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  QUIVER_CHECK(!out.empty(), usage, library.folder().string(), "no expert of it is chosen");
  return out;
}

json summary(const Library& library, const ExpertInfo& info) {
  const auto training = info.training.is_object() ? info.training : json::object();
  const auto kinds = kinds_of(training);
  const bool ranked = std::any_of(kinds.begin(), kinds.end(), has_rank);
  return {{"name", info.name},
          {"tasks", info.tasks},
          {"kind", kinds.empty() ? json() : json(join(kinds, ","))},
          {"validation_loss", training.value("validation_loss", json())},
          {"steps", training.value("steps", json())},
          {"rank", ranked ? training["options"].value("rank", json()) : json()},
          {"identity", info.identity},
          {"path", library.expert_folder(info.name).string()}};
}

std::string strays_line(const Library& library) {
  std::vector<std::string> parts;
  for (const auto& stray : library.strays()) parts.push_back(fmt::format("'{}' ({})", stray.name, stray.what));
  if (parts.empty()) return "";
  return fmt::format("passed over in {}: {}", (library.folder() / "experts").string(), join(parts, "; "));
}

}  // namespace quiver::library
