// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/adapter.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/kind.h"
#include "quiver/adapter/module_pattern.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/ops/random_tensor.h"

namespace quiver::adapter {

std::int64_t Adapter::parameters() const {
  std::int64_t count = 0;
  for_each_tensor(*this, [&](const at::Tensor& t) { count += t.numel(); });
  return count;
}

std::string task_type(const Adapter& adapter) {
  const auto two_stacks = [](const auto& places) {
    return std::any_of(places.begin(), places.end(), [](const auto& entry) {
      return entry.first.starts_with("encoder.") || entry.first.starts_with("decoder.");
    });
  };
  const bool any = adapter.encoder_decoder || two_stacks(adapter.sites) || two_stacks(adapter.extras) ||
                   two_stacks(adapter.norms) || two_stacks(adapter.stored);
  return any ? "SEQ_2_SEQ_LM" : "CAUSAL_LM";
}

at::Tensor Adapter::stored_at(const std::string& place, const std::string& key) const {
  const auto found = stored.find(place);
  if (found == stored.end()) return {};
  const auto tensor = found->second.find(key);
  return tensor == found->second.end() ? at::Tensor() : tensor->second;
}

void for_each_tensor(Adapter& adapter, const std::function<void(at::Tensor&)>& visit) {
  const auto defined = [&](at::Tensor& t) {
    if (t.defined()) visit(t);
  };
  for (auto& [site, f] : adapter.sites) {
    defined(f.a);
    defined(f.b);
  }
  for (auto& [site, e] : adapter.extras) {
    for (auto* t : {&e.input_scale, &e.output_scale, &e.bias}) defined(*t);
    if (!e.bottleneck) continue;
    for (auto* t : {&e.bottleneck->down, &e.bottleneck->down_bias, &e.bottleneck->up, &e.bottleneck->up_bias})
      defined(*t);
  }
  for (auto& [norm, weight] : adapter.norms) defined(weight);
  for (auto* t : {&adapter.soft_prompt, &adapter.prefix}) defined(*t);
  for (auto& [place, tensors] : adapter.stored) {
    for (auto& [key, t] : tensors) {
      if (stored_key(key).trained) defined(t);
    }
  }
}

void for_each_tensor(const Adapter& adapter, const std::function<void(const at::Tensor&)>& visit) {
  auto handles = adapter;
  for_each_tensor(handles, [&](at::Tensor& t) { visit(t); });
}

double lora_scale(double alpha, std::int64_t rank, bool rank_stabilised) {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

std::int64_t key_width(const model::Model& model) {
  const auto& sites = model.sites();
  const auto found =
      std::find_if(sites.begin(), sites.end(), [](const auto& site) { return site.role == model::Role::key; });
  return found == sites.end() ? 0 : found->out;
}

const std::vector<std::pair<std::string, LoraOptions::Init>>& inits() {
  using Init = LoraOptions::Init;
  static const std::vector<std::pair<std::string, Init>> table{
      {"peft", Init::peft}, {"mttl", Init::mttl}, {"pemt", Init::pemt}};
  return table;
}

Adapter make_lora(const model::Model& model, const LoraOptions& options, std::uint64_t seed) {
  check(options);
  Adapter adapter{options, {}};
  for (const auto i : targeted_sites(model.sites(), options.targets, "--targets")) {
    const auto& site = model.sites()[i];
    Random random(derive_seed(seed, i));
    const double share = options.init == LoraOptions::Init::mttl ? 3.0 : 1.0;
    const auto a = ops::uniform({options.rank, site.in}, 1.0 / std::sqrt(share * static_cast<double>(site.in)), random);
    const auto b = options.init == LoraOptions::Init::pemt ? ops::linear_start(site.out, options.rank, random)
                                                           : at::zeros({site.out, options.rank}, at::kFloat);
    adapter.sites[site.name] = {a, b, lora_scale(options.alpha, options.rank, options.rank_stabilised)};
  }
  return adapter;
}

}  // namespace quiver::adapter
