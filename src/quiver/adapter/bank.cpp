// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/bank.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/adapter/derived.h"
#include "quiver/adapter/kinds.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {

namespace {

/// Throws Error{mismatch} where a tensor has another shape than the base model's place for it.
void check_shape(const at::Tensor& t, at::IntArrayRef shape, const std::string& name, const std::string& what) {
  QUIVER_CHECK(!t.defined() || t.sizes() == shape, mismatch, "expert " + name, "{} is [{}], the base model takes [{}]",
               what, fmt::join(t.sizes(), ", "), fmt::join(shape, ", "));
}

void check_extras(const ops::SiteExtras& e, const model::Site& site, std::int64_t block_width,
                  const std::string& name) {
  check_shape(e.input_scale, {site.in}, name, site.name + ": the scale of its input");
  check_shape(e.output_scale, {site.out}, name, site.name + ": the scale of its output");
  check_shape(e.bias, {site.out}, name, site.name + ": the bias");
  if (!e.bottleneck) return;
  const auto& b = *e.bottleneck;
  const auto width = b.down.dim() == 2 ? b.down.size(0) : 0;
  const auto read = b.reads == ops::Reads::output ? site.out : b.reads == ops::Reads::input ? site.in : block_width;
  check_shape(b.down, {width, read}, name, site.name + ": the bottleneck's down");
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

Bank::Bank(const model::Model& model)
    : model_(model),
      sites_(model.sites().size()),
      touched_(model.sites().size(), false),
      reads_block_(model.sites().size(), false) {
  std::map<std::int64_t, std::int64_t> first;
  for (const auto& site : model.sites())
    block_start_.push_back(first.emplace(site.block, static_cast<std::int64_t>(block_start_.size())).first->second);
}

Bank Bank::empty_copy() const {
  Bank out = *this;
  out.names_.clear();
  out.sites_.assign(sites_.size(), {});
  out.touched_.assign(sites_.size(), false);
  out.traits_.clear();
  out.kinds_.clear();
  out.norms_.clear();
  out.soft_prompts_.clear();
  out.prefixes_.clear();
  out.live_.clear();
  out.reads_block_.assign(sites_.size(), false);
  out.touches_norms_ = false;
  return out;
}

std::shared_ptr<const Bank> Bank::renewed(const std::shared_ptr<const Bank>& bank) {
  if (bank->live_.empty()) return bank;
  auto out = std::make_shared<Bank>(*bank);
  for (const auto& [number, adapter] : bank->live_) {
    const auto& name = bank->names_[number];
    out->put(number, name, applied(adapter, bank->model_sites(), name));
  }
  return out;
}

bool Bank::has_prefixes() const {
  return std::any_of(prefixes_.begin(), prefixes_.end(), [](const auto& p) { return p.defined(); });
}

void Bank::check_factors(const std::string& name, const model::Site& site, const ops::LoraFactors& f) const {
  QUIVER_CHECK(f.a.size(1) == site.in && f.b.size(0) == site.out, mismatch, "expert " + name,
               "{}: A [{}, {}] and B [{}, {}], the base model's site has in {} and out {}", site.name, f.a.size(0),
               f.a.size(1), f.b.size(0), f.b.size(1), site.in, site.out);
}

std::int64_t Bank::add(const std::string& name, const Adapter& adapter) {
  const auto number = names_.size();
  if (!derives(adapter)) {
    put(number, name, adapter);
  } else {
    put(number, name, applied(adapter, model_sites(), name));
    bool trained = false;
    for_each_tensor(adapter, [&](const at::Tensor& t) { trained = trained || t.requires_grad(); });
    if (trained) live_[number] = adapter;
  }
  names_.push_back(name);
  kinds_.push_back(kinds_of(adapter));
  return size() - 1;
}

/// Expert `number`, the next one or one that is there.
void Bank::put(std::size_t number, const std::string& name, const Adapter& adapter) {
  std::vector<ops::LoraFactors> own(sites_.size());
  std::vector<ops::SiteExtras> extras(sites_.size());
  std::map<std::int64_t, at::Tensor> norms;
  std::size_t claimed = 0;
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const auto& site = model_sites()[i];
    if (const auto found = adapter.sites.find(site.name); found != adapter.sites.end()) {
      check_factors(name, site, found->second);
      own[i] = found->second;
      ++claimed;
    }
    if (const auto found = adapter.extras.find(site.name); found != adapter.extras.end()) {
      const auto start = static_cast<std::size_t>(block_start_[i]);
      check_extras(found->second, site, model_sites()[start].in, name);
      extras[i] = found->second;
      ++claimed;
    }
  }
  for (std::size_t n = 0; n < model_.norms().size(); ++n) {
    const auto& norm = model_.norms()[n];
    const auto found = adapter.norms.find(norm.name);
    if (found == adapter.norms.end()) continue;
    check_shape(found->second, {norm.width}, name, norm.name);
    norms[static_cast<std::int64_t>(n)] = found->second;
    ++claimed;
  }
  if (claimed != adapter.sites.size() + adapter.extras.size() + adapter.norms.size()) refuse_unknown(name, adapter);
  put_vectors(number, name, adapter);
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    auto& site = sites_[i];
    touched_[i] = touched_[i] || own[i].a.defined() || !extras[i].empty();
    const auto& b = extras[i].bottleneck;
    reads_block_[i] = reads_block_[i] || (b && b->reads == ops::Reads::block);
    if (!extras[i].empty() || !site.extras.empty()) {
      site.extras.resize(std::max(number + 1, site.extras.size()));
      site.extras[number] = std::move(extras[i]);
    }
    site.experts.resize(std::max(number + 1, site.experts.size()));
    site.experts[number] = std::move(own[i]);
  }
  traits_.resize(std::max(number + 1, traits_.size()));
  traits_[number] = traits_of(adapter);
  touches_norms_ = touches_norms_ || !norms.empty();
  norms_.resize(std::max(number + 1, norms_.size()));
  norms_[number] = std::move(norms);
}

/// What stands before the prompt.
void Bank::put_vectors(std::size_t number, const std::string& name, const Adapter& adapter) {
  const auto& config = model_.config();
  auto soft = adapter.soft_prompt;
  at::Tensor prefix;
  if (soft.defined()) check_shape(soft, {soft.dim() == 2 ? soft.size(0) : 0, config.hidden}, name, "the soft prompt");
  if (adapter.prefix.defined()) {
    const auto length = adapter.prefix.dim() == 2 ? adapter.prefix.size(0) : 0;
    const auto layers = config.answer_layers(), width = key_width(model_);
    check_shape(adapter.prefix, {length, layers * 2 * width}, name, "the prefix");
    prefix = adapter.prefix.view({length, layers, 2, width / config.head_width, config.head_width});
    if (!config.encoder_decoder()) {
      const auto places = at::zeros({length, config.hidden}, at::kFloat);
      soft = soft.defined() ? at::cat({places, soft}, 0) : places;
    }
  }
  soft_prompts_.resize(std::max(number + 1, soft_prompts_.size()));
  soft_prompts_[number] = soft;
  prefixes_.resize(soft_prompts_.size());
  prefixes_[number] = prefix;
}

void Bank::refuse_unknown(const std::string& name, const Adapter& adapter) const {
  const auto sites = names_of(model_sites()), norms = names_of(model_.norms());
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

bool Bank::touches(std::int64_t site, std::int64_t expert) const {
  const auto& bank = sites_[static_cast<std::size_t>(site)];
  const auto e = static_cast<std::size_t>(expert);
  return bank.experts[e].a.defined() || (e < bank.extras.size() && !bank.extras[e].empty());
}

void Bank::require(const Honours& honours) const {
  bool factors = size() == 0;
  for (std::int64_t e = 0; e < size(); ++e) {
    const auto& name = names_[static_cast<std::size_t>(e)];
    adapter::require(name, kinds(e), traits(e), honours);
    if (!honours.by_factors || !traits(e).has(Trait::low_rank)) continue;
    factors = true;
    for (std::int64_t s = 0; s < static_cast<std::int64_t>(sites_.size()); ++s) {
      QUIVER_CHECK(
          !touches(s, e) || site(s).experts[static_cast<std::size_t>(e)].a.defined(), unsupported, honours.who,
          "expert '{}' ({}) has something at {} but no low-rank factors there, by which this chooses; apply it "
          "alone, with --route expert:{}, or leave it out with --experts",
          name, fmt::join(kinds(e), ", "), model_sites()[static_cast<std::size_t>(s)].name, name);
    }
  }
  QUIVER_CHECK(!honours.by_factors || factors, unsupported, honours.who,
               "none of the {} experts ('{}' is {}) has low-rank factors, by which this chooses; try --route auto or "
               "phatgoose",
               size(), names_.front(), fmt::join(kinds_.front(), ", "));
}

Adapter Bank::expert(std::int64_t expert) const {
  Adapter out;
  const auto e = static_cast<std::size_t>(expert);
  std::int64_t rank = 0;
  for (std::size_t s = 0; s < sites_.size(); ++s) {
    const auto& name = model_sites()[s].name;
    const auto& site = sites_[s];
    if (site.experts[e].a.defined()) {
      out.sites[name] = site.experts[e];
      rank = std::max(rank, site.experts[e].a.size(0));
    }
    if (e < site.extras.size() && !site.extras[e].empty()) out.extras[name] = site.extras[e];
  }
  if (rank > 0) out.options.rank = rank;
  out.options.alpha = static_cast<double>(out.options.rank);
  for (const auto& [norm, weight] : norms_[e]) out.norms[model_.norms()[static_cast<std::size_t>(norm)].name] = weight;
  out.encoder_decoder = model_.config().encoder_decoder();
  if (prefixes_[e].defined()) out.prefix = prefixes_[e].flatten(1);
  const auto& soft = soft_prompts_[e];
  const auto places = prefixes_[e].defined() && !out.encoder_decoder ? prefixes_[e].size(0) : 0;
  if (soft.defined() && soft.size(0) > places) out.soft_prompt = soft.narrow(0, places, soft.size(0) - places);
  return out;
}

std::int64_t Bank::number(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  QUIVER_CHECK(found != names_.end(), usage, "expert " + name, "no such expert{}", suggestion(name, names_));
  return found - names_.begin();
}

}  // namespace quiver::adapter
