// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/quiver_files.h"

#include <algorithm>
#include <array>

#include "quiver/adapter/derived.h"
#include "quiver/adapter/kind.h"
#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::adapter {
namespace {

using nlohmann::json;

constexpr const char *kType = "QUIVER", *kPrefixKey = "prefix_embeddings";

constexpr std::array<std::pair<const char*, ops::Reads>, 3> kReads{
    {{"output", ops::Reads::output}, {"input", ops::Reads::input}, {"block", ops::Reads::block}}};

constexpr std::array<std::pair<const char*, at::Tensor ops::Bottleneck::*>, 4> kMaps{
    {{".adapter.down.weight", &ops::Bottleneck::down},
     {".adapter.down.bias", &ops::Bottleneck::down_bias},
     {".adapter.up.weight", &ops::Bottleneck::up},
     {".adapter.up.bias", &ops::Bottleneck::up_bias}}};

constexpr std::array<std::pair<const char*, at::Tensor ops::SiteExtras::*>, 3> kExtras{
    {{".input_scale", &ops::SiteExtras::input_scale},
     {".output_scale", &ops::SiteExtras::output_scale},
     {".bias", &ops::SiteExtras::bias}}};

/// The options of all bottlenecks of a folder.
ops::Bottleneck bottleneck_of(const json& config, const std::string& where) {
  const auto options = config.value("bottleneck", json::object());
  QUIVER_CHECK(options.is_object(), format, where, "'bottleneck' is no object");
  ops::Bottleneck out;
  try {
    out.scale = options.value("scale", 1.0);
    // Files of the first version say `after`.
    const auto reads = options.value("reads", std::string(options.value("after", true) ? "output" : "input"));
    const auto found =
        std::find_if(kReads.begin(), kReads.end(), [&](const auto& entry) { return reads == entry.first; });
    QUIVER_CHECK(found != kReads.end(), unsupported, where, "'reads' is '{}', expected output, input or block", reads);
    out.reads = found->second;
    out.nonlinearity = nonlinearity_of_name(options.value("nonlinearity", std::string("relu")), where);
  } catch (const json::exception&) {
    fail(ErrorCode::format, where, "'bottleneck' is {}", options.dump().substr(0, 80));
  }
  return out;
}

json options_of(const ops::Bottleneck& b) {
  const auto reads =
      std::find_if(kReads.begin(), kReads.end(), [&](const auto& entry) { return entry.second == b.reads; });
  return {{"scale", b.scale}, {"reads", reads->first}, {"nonlinearity", nonlinearity_name(b.nonlinearity)}};
}

/// Scale and, for what is said of an adapter, rank and alpha of its low-rank factors.
void finish_factors(Adapter& out, const json& config, const std::string& where) {
  const auto scales = config.value("scales", json::object());
  for (auto& [site, f] : out.sites) {
    const bool whole = f.a.defined() && f.b.defined() && f.a.dim() == 2 && f.b.dim() == 2 && f.a.size(0) == f.b.size(1);
    QUIVER_CHECK(whole, format, where, "site '{}' lacks lora_A or lora_B, or they are not [r, in] and [out, r]", site);
    const auto scale = scales.is_object() ? scales.value(site, json()) : json();
    QUIVER_CHECK(scale.is_number(), format, where, "'scales' has no number for site '{}'", site);
    f.scale = scale.get<double>();
    out.options.rank = f.a.size(0);
    out.options.alpha = f.scale * static_cast<double>(f.a.size(0));
  }
}

/// Every map of a bottleneck is there, or a kind works it out.
void check_bottlenecks(const Adapter& adapter, const std::string& where) {
  for (const auto& [site, extras] : adapter.extras) {
    const auto& b = extras.bottleneck;
    const auto found = adapter.stored.find(site);
    const bool worked_out = found != adapter.stored.end() &&
                            std::any_of(found->second.begin(), found->second.end(),
                                        [](const auto& entry) { return stored_key(entry.first).of_bottleneck; });
    QUIVER_CHECK(!b || worked_out || (b->down.defined() && b->up.defined() && b->down.dim() == 2 && b->up.dim() == 2),
                 format, where, "the bottleneck at '{}' lacks adapter.down.weight or adapter.up.weight", site);
  }
}

/// What kinds store, out of `left`.
void take_stored(Tensors& left, const ops::Bottleneck& options, const std::string& where, Adapter& out) {
  for (const auto& kind : kind_table()) {
    for (const auto& key : kind.stored) {
      if (!key.of_site) {
        const auto t = take_one(left, key.key, key.dims, where);
        if (t.defined()) out.stored[""][key.key] = t;
        continue;
      }
      take_all(left, key.key, [&](const std::string& site, const at::Tensor& t) {
        out.stored[site][key.key] = t;
        if (key.of_bottleneck && !out.extras[site].bottleneck) out.extras[site].bottleneck = options;
      });
    }
  }
}

Adapter read(Tensors left, const json& config, const std::string& where) {
  Adapter out;
  out.soft_prompt = take_one(left, kPromptKey, 2, where);
  out.prefix = take_one(left, kPrefixKey, 2, where);
  take_all(left, ".lora_A.weight", [&](const std::string& site, const at::Tensor& t) { out.sites[site].a = t; });
  take_all(left, ".lora_B.weight", [&](const std::string& site, const at::Tensor& t) { out.sites[site].b = t; });
  finish_factors(out, config, where);
  const auto options = bottleneck_of(config, where);
  for (const auto& [suffix, member] : kMaps) {
    take_all(left, suffix, [&, member = member](const std::string& site, const at::Tensor& t) {
      auto& b = out.extras[site].bottleneck;
      if (!b) b = options;
      (*b).*member = t;
    });
  }
  take_stored(left, options, where, out);
  for (const auto& [suffix, member] : kExtras)
    take_all(left, suffix, [&, member = member](const auto& site, const auto& t) { out.extras[site].*member = t; });
  take_all(left, ".weight", [&](const auto& norm, const auto& t) { out.norms[norm] = t; });
  check_known(left, where);
  check_bottlenecks(out, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of(kType, adapter, base_model), {}};
  const auto put = [&](const std::string& module, const char* suffix, const at::Tensor& t) {
    if (t.defined()) out.tensors[std::string(kKeyPrefix) + module + suffix] = t;
  };
  for (const auto& [site, f] : adapter.sites) {
    put(site, ".lora_A.weight", f.a);
    put(site, ".lora_B.weight", f.b);
    out.config["scales"][site] = f.scale;
  }
  for (const auto& [site, e] : adapter.extras) {
    for (const auto& [suffix, member] : kExtras) put(site, suffix, e.*member);
    if (!e.bottleneck) continue;
    for (const auto& [suffix, member] : kMaps) put(site, suffix, (*e.bottleneck).*member);
    const auto options = options_of(*e.bottleneck);
    QUIVER_CHECK(!out.config.contains("bottleneck") || out.config["bottleneck"] == options, unsupported, "adapter",
                 "bottlenecks of different scale, place or nonlinearity in one adapter");
    out.config["bottleneck"] = options;
  }
  for (const auto& [norm, weight] : adapter.norms) put(norm, ".weight", weight);
  for (const auto& [place, tensors] : adapter.stored) {
    for (const auto& [key, t] : tensors) {
      if (t.defined()) out.tensors[(place.empty() ? "" : std::string(kKeyPrefix) + place) + key] = t;
    }
  }
  if (adapter.soft_prompt.defined()) out.tensors[kPromptKey] = adapter.soft_prompt;
  if (adapter.prefix.defined()) out.tensors[kPrefixKey] = adapter.prefix;
  return out;
}

AdapterFiles files_of(const Adapter& adapter, const std::string& base_model) {
  const auto kinds = kinds_of(adapter);
  if (kinds.size() == 1) {
    const auto& peft = kind_of_name(*kinds.begin()).peft;
    if (peft && peft->complete(adapter)) return peft->write(adapter, base_model);
  }
  return write(adapter, base_model);
}

/// How a folder of a type is read; null where it is none of ours.
auto reader_of(const std::string& type) -> Adapter (*)(Tensors, const json&, const std::string&) {
  if (type == kType) return read;
  for (const auto& kind : kind_table()) {
    if (kind.peft && (type == kind.peft->type || type == kind.peft->reads_too)) return kind.peft->read;
  }
  return nullptr;
}

}  // namespace

std::optional<Adapter> read_other_kind(const fs::path& folder) {
  const auto path = folder / kPeftConfigFile;
  if (!fs::exists(path)) return std::nullopt;
  const auto config = json::parse(read_file(path, 1 << 24), nullptr, false);
  if (!config.is_object()) return std::nullopt;
  const auto type = config.value("peft_type", json());
  const auto reader = type.is_string() ? reader_of(type.get<std::string>()) : nullptr;
  if (!reader) return std::nullopt;
  const auto weights = peft_weights(folder);
  const auto where = weights.string();
  const auto file = open_peft_weights(weights);
  Tensors tensors;
  for (const auto& [name, stored] : peft_keys(file->tensors(), where)) {
    auto tensor = file->load(stored);
    QUIVER_CHECK(tensor.is_floating_point(), format, where, "tensor '{}' is {}, expected floating point", stored,
                 file->tensors().at(stored).stored_dtype);
    tensors[name] = tensor.to(at::kFloat);
  }
  QUIVER_CHECK(!tensors.empty(), format, where, "the file holds no tensors");
  auto out = reader(std::move(tensors), config, where);
  out.encoder_decoder = config.value("task_type", json()) == "SEQ_2_SEQ_LM";
  return out;
}

void write_other_kind(const fs::path& folder, const Adapter& adapter, const std::string& base_model) {
  auto files = files_of(kept(adapter), base_model);
  for (auto& [name, tensor] : files.tensors) tensor = tensor.detach().to(at::kFloat).contiguous();
  tensor_io::write_safetensors(folder / kPeftWeightsFile, files.tensors, {{"format", "pt"}});
  write_file_atomically(folder / kPeftConfigFile, files.config.dump(2) + "\n");
}

}  // namespace quiver::adapter
