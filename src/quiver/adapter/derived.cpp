// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/derived.h"

#include <algorithm>

#include "quiver/adapter/kind.h"
#include "quiver/base/error.h"

namespace quiver::adapter {

void WorkedOut::at_sites(
    const std::string& key,
    const std::function<void(const model::Site&, const std::map<std::string, at::Tensor>&)>& visit) const {
  for (const auto& [place, tensors] : given.stored) {
    if (place.empty() || !tensors.contains(key)) continue;
    const auto found = std::find_if(sites.begin(), sites.end(), [&](const auto& s) { return s.name == place; });
    QUIVER_CHECK(found != sites.end(), mismatch, "expert " + name, "site '{}' does not exist in the base model", place);
    visit(*found, tensors);
  }
}

bool derives(const Adapter& adapter) { return !adapter.stored.empty(); }

Adapter applied(const Adapter& adapter, const std::vector<model::Site>& sites, const std::string& name) {
  auto out = adapter;
  for (const auto& kind : kind_table()) {
    if (kind.work_out) kind.work_out({adapter, sites, name}, out);
  }
  out.stored.clear();
  return out;
}

Adapter kept(const Adapter& adapter) {
  auto out = adapter;
  for (const auto& kind : kind_table()) {
    bool leaves = false;
    for (const auto& key : kind.stored) leaves = leaves || (!key.kept && adapter.stored_at("", key.key).defined());
    if (!leaves) continue;
    kind.work_out({adapter, {}, "adapter"}, out);
    for (const auto& key : kind.stored) {
      if (!key.kept) out.stored[""].erase(key.key);
    }
  }
  if (const auto whole = out.stored.find(""); whole != out.stored.end() && whole->second.empty())
    out.stored.erase(whole);
  return out;
}

}  // namespace quiver::adapter
