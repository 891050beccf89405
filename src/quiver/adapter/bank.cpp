// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/bank.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {

namespace {

/// Throws Error{mismatch} where a tensor has another shape than the base model's place for it.
void check_shape(const at::Tensor& t, at::IntArrayRef shape, const std::string& name, const std::string& what) {
  QUIVER_CHECK(!t.defined() || t.sizes() == shape, mismatch, "expert " + name, "{} is [{}], the base model takes [{}]",
               what, fmt::join(t.sizes(), ", "), fmt::join(shape, ", "));
}

void check_extras(const ops::SiteExtras& e, const model::Site& site, const std::string& name) {
  check_shape(e.input_scale, {site.in}, name, site.name + ": the scale of its input");
  check_shape(e.output_scale, {site.out}, name, site.name + ": the scale of its output");
  check_shape(e.bias, {site.out}, name, site.name + ": the bias");
  if (!e.bottleneck) return;
  const auto& b = *e.bottleneck;
  const auto width = b.down.dim() == 2 ? b.down.size(0) : 0;
  check_shape(b.down, {width, b.after ? site.out : site.in}, name, site.name + ": the bottleneck's down");
  check_shape(b.up, {site.out, width}, name, site.name + ": the bottleneck's up");
  check_shape(b.down_bias, {width}, name, site.name + ": the bottleneck's first bias");
  check_shape(b.up_bias, {site.out}, name, site.name + ": the bottleneck's second bias");
}

template <typename Places>
std::vector<std::string> names_of(const Places& places) {
  std::vector<std::string> out;
  for (const auto& place : places) out.push_back(place.name);
  return out;
}

}  // namespace

Bank::Bank(const model::LanguageModel& model)
    : model_sites_(&model.sites()),
      model_norms_(&model.norms()),
      width_(model.config().hidden),
      sites_(model.sites().size()),
      touched_(model.sites().size(), false) {}

Bank Bank::empty_copy() const {
  Bank out = *this;
  out.names_.clear();
  out.sites_.assign(sites_.size(), {});
  out.touched_.assign(sites_.size(), false);
  out.norms_.clear();
  out.soft_prompts_.clear();
  out.touches_norms_ = false;
  return out;
}

void Bank::check_factors(const std::string& name, const model::Site& site, const ops::LoraFactors& f) const {
  QUIVER_CHECK(f.a.size(1) == site.in && f.b.size(0) == site.out, mismatch, "expert " + name,
               "{}: A [{}, {}] and B [{}, {}], the base model's site has in {} and out {}", site.name, f.a.size(0),
               f.a.size(1), f.b.size(0), f.b.size(1), site.in, site.out);
}

std::int64_t Bank::add(const std::string& name, const Adapter& adapter) {
  std::vector<ops::LoraFactors> own(sites_.size());
  std::vector<ops::SiteExtras> extras(sites_.size());
  std::map<std::int64_t, at::Tensor> norms;
  std::size_t claimed = 0;
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const auto& site = (*model_sites_)[i];
    if (const auto found = adapter.sites.find(site.name); found != adapter.sites.end()) {
      check_factors(name, site, found->second);
      own[i] = found->second;
      ++claimed;
    }
    if (const auto found = adapter.extras.find(site.name); found != adapter.extras.end()) {
      check_extras(found->second, site, name);
      extras[i] = found->second;
      ++claimed;
    }
  }
  for (std::size_t n = 0; n < model_norms_->size(); ++n) {
    const auto& norm = (*model_norms_)[n];
    const auto found = adapter.norms.find(norm.name);
    if (found == adapter.norms.end()) continue;
    check_shape(found->second, {norm.width}, name, norm.name);
    norms[static_cast<std::int64_t>(n)] = found->second;
    ++claimed;
  }
  if (claimed != adapter.sites.size() + adapter.extras.size() + adapter.norms.size()) refuse_unknown(name, adapter);
  if (adapter.soft_prompt.defined()) {
    const auto length = adapter.soft_prompt.dim() == 2 ? adapter.soft_prompt.size(0) : 0;
    check_shape(adapter.soft_prompt, {length, width_}, name, "the soft prompt");
  }
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    touched_[i] = touched_[i] || own[i].a.defined() || !extras[i].empty();
    if (!extras[i].empty() || !sites_[i].extras.empty()) {
      sites_[i].extras.resize(sites_[i].experts.size());
      sites_[i].extras.push_back(std::move(extras[i]));
    }
    sites_[i].experts.push_back(std::move(own[i]));
  }
  touches_norms_ = touches_norms_ || !norms.empty();
  norms_.push_back(std::move(norms));
  soft_prompts_.push_back(adapter.soft_prompt);
  names_.push_back(name);
  return size() - 1;
}

void Bank::refuse_unknown(const std::string& name, const Adapter& adapter) const {
  const auto sites = names_of(*model_sites_), norms = names_of(*model_norms_);
  const auto check = [&](const std::string& place, const std::vector<std::string>& known, const char* what) {
    QUIVER_CHECK(std::find(known.begin(), known.end(), place) != known.end(), mismatch, "expert " + name,
                 "{} '{}' does not exist in the base model", what, place);
  };
  for (const auto& [site, factors] : adapter.sites) check(site, sites, "site");
  for (const auto& [site, extras] : adapter.extras) check(site, sites, "site");
  for (const auto& [norm, weight] : adapter.norms) check(norm, norms, "norm");
}

at::Tensor Bank::norm(std::int64_t expert, std::int64_t norm) const {
  const auto& own = norms_[static_cast<std::size_t>(expert)];
  const auto found = own.find(norm);
  return found == own.end() ? at::Tensor() : found->second;
}

std::int64_t Bank::number(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  QUIVER_CHECK(found != names_.end(), usage, "expert " + name, "no such expert{}", suggestion(name, names_));
  return found - names_.begin();
}

}  // namespace quiver::adapter
