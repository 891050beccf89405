// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft.h"

#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/adapter/kind.h"
#include "quiver/adapter/peft_config.h"
#include "quiver/adapter/peft_keys.h"
#include "quiver/adapter/quiver_files.h"
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::adapter {
namespace {

constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight", kBias = ".bias", kBiasOfB = ".lora_B.bias";
// AdaLoRA's factors are bare parameters, with the singular values E [r, 1] between them.
constexpr std::string_view kAdaptiveA = ".lora_A", kAdaptiveB = ".lora_B", kAdaptiveE = ".lora_E";

void check_pair(const std::string& site, const ops::LoraFactors& f, const PeftConfig& config,
                const std::string& where) {
  QUIVER_CHECK(f.a.defined() && f.b.defined(), format, where, "site '{}' has lora_{} but not lora_{}", site,
               f.a.defined() ? "A" : "B", f.a.defined() ? "B" : "A");
  QUIVER_CHECK(f.a.dim() == 2 && f.b.dim() == 2 && f.a.size(0) == f.b.size(1) && f.a.size(0) >= 1, mismatch, where,
               "site '{}': A and B are not [r, in] and [out, r] of one rank", site);
  const auto rank = config.rank_of(site);
  QUIVER_CHECK(f.a.size(0) == rank || (config.adaptive && f.a.size(0) < rank), mismatch, where,
               "site '{}' has rank {}, the configuration says {}", site, f.a.size(0), rank);
}

/// Endings of the keys that a configuration asks for.
std::vector<std::string_view> endings_of(const PeftConfig& config) {
  if (config.adaptive) return {kAdaptiveA, kAdaptiveB, kAdaptiveE};
  if (config.dora) return {kA, kB, kMagnitude};
  return {kA, kB};
}

/// What a tensor is by the end of its key; empty where it is nothing known.
std::string_view ending_of(const std::string& key, const std::vector<std::string_view>& endings) {
  for (const auto ending : endings) {
    if (key.starts_with(kKeyPrefix) && key.ends_with(ending) && key.size() > kKeyPrefix.size() + ending.size())
      return ending;
  }
  return "";
}

/// AdaLoRA computes s B ((A * E) x), which is LoRA's with E taken into A; sites whose rank was pruned to 0 do nothing.
void fold_singular_values(Adapter& adapter, const std::map<std::string, at::Tensor>& values, const std::string& where) {
  for (auto next = adapter.sites.begin(); next != adapter.sites.end();) {
    auto& [site, f] = *next;
    const auto found = values.find(site);
    QUIVER_CHECK(found != values.end() && f.a.defined() && f.b.defined(), format, where,
                 "site '{}' lacks one of lora_A, lora_B and lora_E", site);
    QUIVER_CHECK(f.a.dim() == 2 && (found->second.sizes() == at::IntArrayRef{f.a.size(0), 1}), mismatch, where,
                 "site '{}': lora_E is not [r, 1] for the rank r of lora_A", site);
    f.a = f.a * found->second;
    next = f.a.size(0) == 0 ? adapter.sites.erase(next) : std::next(next);
  }
  QUIVER_CHECK(std::all_of(values.begin(), values.end(), [&](const auto& v) { return v.second.dim() == 2; }), format,
               where, "a lora_E is not [r, 1]");
}

/// A bias of B, or one of the base model's that was trained with the adapter.
void read_bias(const std::string& key, const at::Tensor& tensor, const PeftConfig& config, const std::string& where,
               Adapter& adapter) {
  const bool of_b = key.ends_with(kBiasOfB);
  const auto module = module_of(key, of_b ? kBiasOfB : key.ends_with(kTrainedBias) ? kTrainedBias : kBias);
  QUIVER_CHECK(!module.empty() && (of_b ? config.factor_biases : config.trained_biases), unsupported, where,
               "'{}' is a bias, and {} of the configuration says that there is none", key,
               of_b ? "'lora_bias'" : "'bias'");
  QUIVER_CHECK(tensor.dim() == 1, format, where, "'{}' has {} dimensions, expected 1", key, tensor.dim());
  (of_b ? adapter.extras[module].bias : adapter.stored[module][kTrainedBias]) = tensor;
}

/// The tensors of LoRA's kin: where each belongs in the adapter is in its key.
void read_factors(const tensor_io::TensorSource& file, const PeftConfig& config, const std::string& where,
                  Adapter& adapter) {
  const auto endings = endings_of(config);
  std::map<std::string, at::Tensor> singular_values;
  for (const auto& [key, stored] : peft_keys(file.tensors(), where)) {
    // What AdaLoRA notes of a site's rank, which the configuration says too.
    if (config.adaptive && key.ends_with(".ranknum")) continue;
    const auto ending = ending_of(key, endings);
    const bool bias = key.ends_with(kBias);
    QUIVER_CHECK(bias || !ending.empty(), unsupported, where, "tensor '{}' is not {}MODULE{}", stored, kKeyPrefix,
                 fmt::join(endings, " or "));
    const auto tensor = file.load(stored);
    QUIVER_CHECK(tensor.is_floating_point(), format, where, "tensor '{}' is {}, expected floating point", stored,
                 file.tensors().at(stored).stored_dtype);
    if (bias) {
      read_bias(key, tensor.to(at::kFloat), config, where, adapter);
      continue;
    }
    const auto module = module_of(key, ending);
    auto& place = ending == kA || ending == kAdaptiveA   ? adapter.sites[module].a
                  : ending == kB || ending == kAdaptiveB ? adapter.sites[module].b
                  : ending == kAdaptiveE                 ? singular_values[module]
                                                         : adapter.stored[module][kMagnitude];
    place = tensor.to(at::kFloat);
  }
  if (config.adaptive) fold_singular_values(adapter, singular_values, where);
}

std::size_t magnitudes(const Adapter& adapter) {
  return static_cast<std::size_t>(std::count_if(adapter.stored.begin(), adapter.stored.end(),
                                                [](const auto& entry) { return entry.second.contains(kMagnitude); }));
}

}  // namespace

Adapter read_peft(const fs::path& folder) {
  if (auto other = read_other_kind(folder)) return std::move(*other);
  const auto weights = peft_weights(folder);
  const auto where = weights.string(), described = (folder / kPeftConfigFile).string();
  const auto config = parse_peft_config(read_file(folder / kPeftConfigFile, 1 << 24), described);
  const auto file = open_peft_weights(weights);
  Adapter adapter{config.options, {}};
  read_factors(*file, config, where, adapter);
  QUIVER_CHECK(!adapter.sites.empty(), format, where, "the file holds no tensors");
  for (auto& [site, factors] : adapter.sites) {
    check_pair(site, factors, config, where);
    factors.scale = config.scale_of(site);
    QUIVER_CHECK(!config.dora || adapter.stored_at(site, kMagnitude).defined(), format, where,
                 "site '{}' has no {}, which 'use_dora' asks for", site, kMagnitude + 1);
    QUIVER_CHECK(!config.factor_biases || adapter.extras.contains(site), format, where,
                 "site '{}' has no {}, which 'lora_bias' asks for", site, kBiasOfB.substr(1));
  }
  const auto check_beside = [&](const char* what, std::size_t count, bool asked_for) {
    QUIVER_CHECK(count == (asked_for ? adapter.sites.size() : 0), format, where, "{} at {} sites, factors at {}", what,
                 count, adapter.sites.size());
  };
  check_beside("magnitudes", magnitudes(adapter), config.dora);
  check_beside("biases of B", adapter.extras.size(), config.factor_biases);
  for (auto& [site, extras] : adapter.extras) extras.bias = extras.bias * adapter.sites.at(site).scale;
  return adapter;
}

namespace {

/// True of what PEFT has as LORA: factors alone, or DoRA with a magnitude for each pair, and with either the base
/// model's biases, trained.
bool is_peft_lora(const Adapter& adapter) {
  auto kinds = kinds_of(adapter);
  if (kinds.erase("bitfit") > 0 && (!adapter.extras.empty() || adapter.sites.empty())) return false;
  if (kinds != std::set<std::string>{"dora"}) return kinds.empty() || kinds == std::set<std::string>{"lora"};
  return magnitudes(adapter) == adapter.sites.size() &&
         std::all_of(adapter.sites.begin(), adapter.sites.end(),
                     [&](const auto& entry) { return adapter.stored_at(entry.first, kMagnitude).defined(); });
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
    for (const auto& [key, t] : stored) {
      const bool bare = key == kTrainedBias && !adapter.sites.contains(site);  // PEFT has wrapped nothing there
      tensors[std::string(kKeyPrefix) + site + (bare ? std::string(kBias) : key)] =
          t.detach().to(at::kFloat).contiguous();
    }
  }
  tensor_io::write_safetensors(folder / kPeftWeightsFile, tensors, {{"format", "pt"}});
  write_file_atomically(folder / kPeftConfigFile, write_peft_config(adapter, base_model));
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
