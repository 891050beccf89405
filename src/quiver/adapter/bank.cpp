// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/bank.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {

Bank::Bank(const model::LanguageModel& model)
    : model_sites_(&model.sites()), sites_(model.sites().size()), touched_(model.sites().size(), false) {}

Bank Bank::empty_copy() const {
  Bank out = *this;
  out.names_.clear();
  out.sites_.assign(sites_.size(), {});
  out.touched_.assign(sites_.size(), false);
  return out;
}

std::int64_t Bank::add(const std::string& name, const Adapter& adapter) {
  std::vector<ops::LoraFactors> own(sites_.size());
  std::size_t claimed = 0;
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const auto& site = (*model_sites_)[i];
    const auto found = adapter.sites.find(site.name);
    if (found == adapter.sites.end()) continue;
    const auto& f = found->second;
    QUIVER_CHECK(f.a.size(1) == site.in && f.b.size(0) == site.out, mismatch, "expert " + name,
                 "{}: A [{}, {}] and B [{}, {}], the base model's site has in {} and out {}", site.name, f.a.size(0),
                 f.a.size(1), f.b.size(0), f.b.size(1), site.in, site.out);
    own[i] = f;
    ++claimed;
  }
  if (claimed != adapter.sites.size()) {
    for (const auto& [site, factors] : adapter.sites) {
      const bool known =
          std::any_of(model_sites_->begin(), model_sites_->end(), [&](const auto& s) { return s.name == site; });
      QUIVER_CHECK(known, mismatch, "expert " + name, "site '{}' does not exist in the base model", site);
    }
  }
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    touched_[i] = touched_[i] || own[i].a.defined();
    sites_[i].experts.push_back(std::move(own[i]));
  }
  names_.push_back(name);
  return size() - 1;
}

std::int64_t Bank::number(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  QUIVER_CHECK(found != names_.end(), usage, "expert " + name, "no such expert{}", suggestion(name, names_));
  return found - names_.begin();
}

}  // namespace quiver::adapter
