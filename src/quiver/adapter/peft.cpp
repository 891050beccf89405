// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/adapter/kind.h"
#include "quiver/adapter/peft_config.h"
#include "quiver/adapter/quiver_files.h"
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::adapter {
namespace {

constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight", kMagnitude = ".lora_magnitude_vector";
constexpr const char* kPickledFile = "adapter_model.bin";

/// The module path of a key, without wrappers that training tools leave in it.
std::string bare_module(std::string key, std::string_view suffix) {
  key = key.substr(kKeyPrefix.size(), key.size() - kKeyPrefix.size() - suffix.size());
  constexpr std::string_view kWrapper = "_orig_mod.";
  for (std::size_t at; (at = key.find(kWrapper)) != std::string::npos;) key.erase(at, kWrapper.size());
  return key;
}

void check_pair(const std::string& site, const ops::LoraFactors& f, const PeftConfig& config,
                const std::string& where) {
  QUIVER_CHECK(f.a.defined() && f.b.defined(), format, where, "site '{}' has lora_{} but not lora_{}", site,
               f.a.defined() ? "A" : "B", f.a.defined() ? "B" : "A");
  QUIVER_CHECK(f.a.dim() == 2 && f.b.dim() == 2 && f.a.size(0) == f.b.size(1) && f.a.size(0) >= 1, mismatch, where,
               "site '{}': A and B are not [r, in] and [out, r] of one rank", site);
  QUIVER_CHECK(f.a.size(0) == config.rank_of(site), mismatch, where, "site '{}' has rank {}, the configuration says {}",
               site, f.a.size(0), config.rank_of(site));
}

/// What a tensor is by the end of its key; empty where it is nothing known.
std::string_view ending_of(const std::string& key, bool dora) {
  if (!key.starts_with(kKeyPrefix)) return "";
  if (key.ends_with(kA)) return kA;
  if (key.ends_with(kB)) return kB;
  return dora && key.ends_with(kMagnitude) ? kMagnitude : "";
}

}  // namespace

Adapter read_peft(const fs::path& folder) {
  if (auto other = read_other_kind(folder)) return std::move(*other);
  const bool pickled = !fs::exists(folder / kWeightsFile) && fs::exists(folder / kPickledFile);
  const auto weights = folder / (pickled ? kPickledFile : kWeightsFile);
  const auto where = weights.string();
  QUIVER_CHECK(fs::exists(weights), not_found, folder.string(), "no {} in it, so it is not a PEFT adapter",
               kWeightsFile);
  const auto config = parse_peft_config(read_file(folder / kConfigFile, 1 << 24), (folder / kConfigFile).string());
  // The reader of pickles takes tensors and containers alone and runs nothing.
  const auto file = pickled ? tensor_io::open_torch_tensors(weights) : tensor_io::open_safetensors(weights);
  Adapter adapter{config.options, {}};
  for (const auto& [key, info] : file->tensors()) {
    const auto ending = ending_of(key, config.dora);
    QUIVER_CHECK(!ending.empty() && key.size() > kKeyPrefix.size() + ending.size(), unsupported, where,
                 "tensor '{}' is not {}MODULE{} or {}{}", key, kKeyPrefix, kA, kB,
                 config.dora ? ", or its magnitude" : "");
    const auto module = bare_module(key, ending);
    auto tensor = file->load(key);
    QUIVER_CHECK(tensor.is_floating_point(), format, where, "tensor '{}' is {}, expected floating point", key,
                 info.stored_dtype);
    auto& place = ending == kA   ? adapter.sites[module].a
                  : ending == kB ? adapter.sites[module].b
                                 : adapter.stored[module][std::string(kMagnitude)];
    QUIVER_CHECK(!place.defined(), format, where, "site '{}' has two tensors for {}", module, ending.substr(1));
    place = tensor.to(at::kFloat);
  }
  QUIVER_CHECK(!adapter.sites.empty(), format, where, "the file holds no tensors");
  for (auto& [site, factors] : adapter.sites) {
    check_pair(site, factors, config, where);
    factors.scale = config.scale_of(site);
    QUIVER_CHECK(!config.dora || adapter.stored.contains(site), format, where,
                 "site '{}' has no {}, which 'use_dora' asks for", site, kMagnitude.substr(1));
  }
  QUIVER_CHECK(adapter.stored.size() == (config.dora ? adapter.sites.size() : 0), format, where,
               "magnitudes at {} sites, factors at {}", adapter.stored.size(), adapter.sites.size());
  return adapter;
}

namespace {

/// True of what PEFT has as LORA: factors alone, or DoRA with a magnitude for each pair.
bool is_peft_lora(const Adapter& adapter) {
  const auto kinds = kinds_of(adapter);
  if (kinds != std::set<std::string>{"dora"}) return kinds.empty() || kinds == std::set<std::string>{"lora"};
  return adapter.stored.size() == adapter.sites.size() &&
         std::all_of(adapter.stored.begin(), adapter.stored.end(),
                     [&](const auto& entry) { return adapter.sites.contains(entry.first); });
}

}  // namespace

void write_peft(const fs::path& folder, const Adapter& adapter, const std::string& base_model) {
  if (!is_peft_lora(adapter)) return write_other_kind(folder, adapter, base_model);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [site, f] : adapter.sites) {
    const auto key = std::string(kKeyPrefix) + site;
    tensors[key + std::string(kA)] = f.a.detach().to(at::kFloat).contiguous();
    tensors[key + std::string(kB)] = f.b.detach().to(at::kFloat).contiguous();
  }
  for (const auto& [site, stored] : adapter.stored) {
    for (const auto& [key, t] : stored)
      tensors[std::string(kKeyPrefix) + site + key] = t.detach().to(at::kFloat).contiguous();
  }
  tensor_io::write_safetensors(folder / kWeightsFile, tensors, {{"format", "pt"}});
  write_file_atomically(folder / kConfigFile, write_peft_config(adapter, base_model));
}

namespace {

void add_tensor(const std::string& what, const at::Tensor& t, Sha256& hash) {
  if (!t.defined()) return;
  hash.add(fmt::format("{} [{}]\n", what, fmt::join(t.sizes(), ",")));
  const auto bytes = t.detach().to(at::kFloat).contiguous();
  hash.add(bytes.const_data_ptr<float>(), static_cast<std::size_t>(bytes.numel()) * sizeof(float));
}

/// Of each site what kinds store there, then what they store of the adapter as a whole, in the order of their table.
void add_stored(const Adapter& adapter, Sha256& hash) {
  const auto add = [&](const std::string& place, bool of_site) {
    for (const auto& kind : kind_table()) {
      for (const auto& key : kind.stored) {
        if (key.of_site == of_site)
          add_tensor((of_site ? place + " " : "") + key.label, adapter.stored_at(place, key.key), hash);
      }
    }
  };
  for (const auto& [place, tensors] : adapter.stored) {
    if (!place.empty()) add(place, true);
  }
  add("", false);
}

void add_other_kinds(const Adapter& adapter, Sha256& hash) {
  for (const auto& [site, e] : adapter.extras) {
    add_tensor(site + " input scale", e.input_scale, hash);
    add_tensor(site + " output scale", e.output_scale, hash);
    add_tensor(site + " bias", e.bias, hash);
    if (!e.bottleneck) continue;
    const auto& b = *e.bottleneck;
    // 1 and 0 say what was once the only choice.
    const int reads = b.reads == ops::Reads::output ? 1 : b.reads == ops::Reads::input ? 0 : 2;
    hash.add(fmt::format("{} bottleneck {:.9g} {} {}\n", site, b.scale, static_cast<int>(b.nonlinearity), reads));
    for (const auto& t : {b.down, b.down_bias, b.up, b.up_bias}) add_tensor(site, t, hash);
  }
  for (const auto& [norm, weight] : adapter.norms) add_tensor(norm, weight, hash);
  add_tensor("soft prompt", adapter.soft_prompt, hash);
  add_tensor("prefix", adapter.prefix, hash);
  add_stored(adapter, hash);
}

}  // namespace

std::string identity(const Adapter& adapter) {
  Sha256 hash;
  for (const auto& [site, f] : adapter.sites) {
    hash.add(fmt::format("{} {} {} {} {:.9g}\n", site, f.a.size(0), f.a.size(1), f.b.size(0), f.scale));
    for (const auto& factor : {f.a, f.b}) {
      const auto bytes = factor.detach().to(at::kFloat).contiguous();
      hash.add(bytes.const_data_ptr<float>(), static_cast<std::size_t>(bytes.numel()) * sizeof(float));
    }
  }
  add_other_kinds(adapter, hash);
  return hash.hex();
}

}  // namespace quiver::adapter
