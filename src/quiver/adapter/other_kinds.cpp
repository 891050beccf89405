// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/other_kinds.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/adapter/peft_keys.h"
#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::adapter {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, at::Tensor>;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char* kPrompt = "prompt_embeddings";
constexpr const char *kTaskColumns = "prefix_task_cols", *kTaskRows = "prefix_task_rows";
constexpr const char *kVeraA = "base_model.vera_A", *kVeraB = "base_model.vera_B";

constexpr std::array<std::pair<const char*, ops::Nonlinearity>, 6> kNonlinearities{
    {{"none", ops::Nonlinearity::none},
     {"relu", ops::Nonlinearity::relu},
     {"gelu", ops::Nonlinearity::gelu},
     {"gelu_new", ops::Nonlinearity::gelu_tanh},
     {"silu", ops::Nonlinearity::silu},
     {"tanh", ops::Nonlinearity::tanh}}};

constexpr std::array<std::pair<const char*, ops::Reads>, 3> kReads{
    {{"output", ops::Reads::output}, {"input", ops::Reads::input}, {"block", ops::Reads::block}}};

constexpr std::array<std::pair<const char*, at::Tensor DerivedSite::*>, 7> kDerived{
    {{".lora_magnitude_vector", &DerivedSite::magnitude},
     {".vera_lambda_d", &DerivedSite::input_gains},
     {".vera_lambda_b", &DerivedSite::output_gains},
     {".adapter.down.left", &DerivedSite::down_left},
     {".adapter.down.right", &DerivedSite::down_right},
     {".adapter.up.left", &DerivedSite::up_left},
     {".adapter.up.right", &DerivedSite::up_right}}};

/// The module of a key that ends in `suffix`; empty where it does not.
std::string module_of(const std::string& key, std::string_view suffix) {
  if (!key.starts_with(kPrefix) || !key.ends_with(suffix) || key.size() <= kPrefix.size() + suffix.size()) return "";
  return key.substr(kPrefix.size(), key.size() - kPrefix.size() - suffix.size());
}

void check_known(const Tensors& left, const std::string& where) {
  QUIVER_CHECK(left.empty(), unsupported, where, "{} tensors are of no kind known here, the first is '{}'", left.size(),
               left.begin()->first);
}

/// Hands each tensor whose key ends in `suffix` to take(module, tensor), and out of `left`.
template <typename Take>
void take_all(Tensors& left, std::string_view suffix, Take take) {
  for (auto next = left.begin(); next != left.end();) {
    const auto module = module_of(next->first, suffix);
    if (module.empty()) {
      ++next;
      continue;
    }
    take(module, next->second);
    next = left.erase(next);
  }
}

/// The tensor of exactly this key, of `dims` dimensions, out of `left`; undefined where there is none.
at::Tensor take_one(Tensors& left, const char* key, std::int64_t dims, const std::string& where) {
  const auto found = left.find(key);
  if (found == left.end()) return {};
  QUIVER_CHECK(found->second.dim() == dims && found->second.numel() >= 1, format, where, "'{}' has not {} dimensions",
               key, dims);
  auto out = found->second;
  left.erase(found);
  return out;
}

Adapter ia3_of(Tensors left, const std::string& where) {
  Adapter out;
  take_all(left, ".ia3_l", [&](const std::string& module, const at::Tensor& t) {
    const bool input = t.dim() == 2 && t.size(0) == 1;
    QUIVER_CHECK(t.dim() == 2 && (input || t.size(1) == 1), format, where,
                 "'{}': ia3_l is neither [out, 1] nor [1, in]", module);
    (input ? out.extras[module].input_scale : out.extras[module].output_scale) = t.reshape({-1}).contiguous();
  });
  check_known(left, where);
  return out;
}

Adapter norms_of(Tensors left, const std::string& where) {
  Adapter out;
  take_all(left, ".ln_tuning_layers.weight",
           [&](const std::string& module, const at::Tensor& t) { out.norms[module] = t; });
  check_known(left, where);
  return out;
}

Adapter vera_of(Tensors left, const std::string& where) {
  Adapter out;
  out.shared_a = take_one(left, kVeraA, 2, where);
  out.shared_b = take_one(left, kVeraB, 2, where);
  QUIVER_CHECK(out.shared_a.defined() && out.shared_b.defined(), unsupported, where,
               "no {} or {}: save it with save_projection=True", kVeraA, kVeraB);
  take_all(left, ".vera_lambda_d", [&](const auto& site, const auto& t) { out.derived[site].input_gains = t; });
  take_all(left, ".vera_lambda_b", [&](const auto& site, const auto& t) { out.derived[site].output_gains = t; });
  check_known(left, where);
  out.options.rank = out.shared_a.size(0);
  return out;
}

/// Prompt tuning and prefix tuning have one key in common.
Adapter vectors_of(Tensors left, at::Tensor Adapter::*member, const json& config, const std::string& where) {
  Adapter out;
  auto& vectors = out.*member = take_one(left, kPrompt, 2, where);
  check_known(left, where);
  QUIVER_CHECK(vectors.defined(), format, where, "no {}", kPrompt);
  // PEFT keeps as many again for a decoder's sake, and does not read them.
  const auto used = config.value("num_virtual_tokens", json());
  if (used.is_number_integer() && used >= 1 && used < vectors.size(0))
    vectors = vectors.narrow(0, 0, used).contiguous();
  return out;
}

/// PEFT doubles a prefix for encoder-decoders and deals it out in fours, of which the last two go unused: layer i of
/// the decoder gets what is stored for layer 2 i mod layers.
void deal_as_peft(at::Tensor& prefix, const json& config, const std::string& where) {
  if (config.value("num_transformer_submodules", json()) != 2) return;
  const auto layers = config.value("num_layers", json());
  const auto count = layers.is_number_integer() ? layers.get<std::int64_t>() : 0;
  QUIVER_CHECK(count >= 1 && prefix.size(1) % (2 * count) == 0, format, where,
               "'num_layers' is {}, expected one that divides the prefix's {} columns in two for each", layers.dump(),
               prefix.size(1));
  std::vector<std::int64_t> from;
  for (std::int64_t i = 0; i < count; ++i) from.push_back(2 * i % count);
  const auto by_layer = prefix.view({prefix.size(0), count, prefix.size(1) / count});
  prefix = by_layer.index_select(1, at::tensor(from, at::kLong)).flatten(1).contiguous();
}

void take_task_prompts(Tensors& left, Adapter& out, const std::string& where) {
  out.task_columns = take_one(left, kTaskColumns, 3, where);
  out.task_rows = take_one(left, kTaskRows, 3, where);
  QUIVER_CHECK(out.task_columns.defined() == out.task_rows.defined(), format, where, "{} without {}, or the reverse",
               kTaskColumns, kTaskRows);
}

Adapter mpt_of(Tensors left, const std::string& where) {
  Adapter out;
  out.soft_prompt = take_one(left, kPrompt, 2, where);
  take_task_prompts(left, out, where);
  QUIVER_CHECK(out.soft_prompt.defined() && out.task_rows.defined(), format, where, "no {} or no {}", kPrompt,
               kTaskRows);
  check_known(left, where);
  return out;
}

/// The options of all bottlenecks of a QUIVER folder.
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

Adapter own_of(Tensors left, const json& config, const std::string& where) {
  Adapter out;
  out.soft_prompt = take_one(left, kPrompt, 2, where);
  out.prefix = take_one(left, "prefix_embeddings", 2, where);
  take_task_prompts(left, out, where);
  out.rule = take_one(left, "compacter_rule", 3, where);
  out.shared_a = take_one(left, kVeraA, 2, where);
  out.shared_b = take_one(left, kVeraB, 2, where);
  take_all(left, ".lora_A.weight", [&](const std::string& site, const at::Tensor& t) { out.sites[site].a = t; });
  take_all(left, ".lora_B.weight", [&](const std::string& site, const at::Tensor& t) { out.sites[site].b = t; });
  finish_factors(out, config, where);
  const auto options = bottleneck_of(config, where);
  const auto part = [&](std::string_view suffix, at::Tensor ops::Bottleneck::*member) {
    take_all(left, suffix, [&](const std::string& site, const at::Tensor& t) {
      auto& own = out.extras[site].bottleneck;
      if (!own) own = options;
      (*own).*member = t;
    });
  };
  part(".adapter.down.weight", &ops::Bottleneck::down);
  part(".adapter.down.bias", &ops::Bottleneck::down_bias);
  part(".adapter.up.weight", &ops::Bottleneck::up);
  part(".adapter.up.bias", &ops::Bottleneck::up_bias);
  const auto worked_out = [&](std::string_view suffix, at::Tensor DerivedSite::*member) {
    take_all(left, suffix, [&](const std::string& site, const at::Tensor& t) {
      out.derived[site].*member = t;
      if (member == &DerivedSite::down_left && !out.extras[site].bottleneck) out.extras[site].bottleneck = options;
    });
  };
  for (const auto& [suffix, member] : kDerived) worked_out(suffix, member);
  take_all(left, ".input_scale", [&](const auto& site, const auto& t) { out.extras[site].input_scale = t; });
  take_all(left, ".output_scale", [&](const auto& site, const auto& t) { out.extras[site].output_scale = t; });
  take_all(left, ".bias", [&](const auto& site, const auto& t) { out.extras[site].bias = t; });
  take_all(left, ".weight", [&](const auto& norm, const auto& t) { out.norms[norm] = t; });
  check_known(left, where);
  for (const auto& [site, extras] : out.extras) {
    const auto& b = extras.bottleneck;
    const auto own = out.derived.find(site);
    const bool products = own != out.derived.end() && own->second.down_left.defined();
    QUIVER_CHECK(!b || products || (b->down.defined() && b->up.defined() && b->down.dim() == 2 && b->up.dim() == 2),
                 format, where, "the bottleneck at '{}' lacks adapter.down.weight or adapter.up.weight", site);
  }
  return out;
}

/// What the files of an adapter say.
struct Folder {
  json config;
  Tensors tensors;
};

json config_of(const std::string& type, const Adapter& adapter, const std::string& base_model) {
  return {{"peft_type", type},
          {"base_model_name_or_path", base_model},
          {"inference_mode", true},
          {"task_type", task_type(adapter)}};
}

std::vector<std::string> modules(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

bool only_ia3(const Adapter& a) {
  if (!a.sites.empty() || !a.norms.empty() || !a.derived.empty() || a.soft_prompt.defined() || a.prefix.defined()) {
    return false;
  }
  return std::all_of(a.extras.begin(), a.extras.end(), [](const auto& entry) {
    const auto& e = entry.second;
    return !e.bias.defined() && !e.bottleneck && e.input_scale.defined() != e.output_scale.defined();
  });
}

Folder ia3_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("IA3", adapter, base_model), {}};
  std::set<std::string> targets, inputs;
  for (const auto& [site, e] : adapter.extras) {
    targets.insert(site);
    if (e.input_scale.defined()) inputs.insert(site);
    out.tensors[std::string(kPrefix) + site + ".ia3_l"] =
        e.input_scale.defined() ? e.input_scale.unsqueeze(0) : e.output_scale.unsqueeze(1);
  }
  out.config["target_modules"] = modules(targets);
  out.config["feedforward_modules"] = modules(inputs);
  out.config["init_ia3_weights"] = true;
  return out;
}

Folder prompt_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("PROMPT_TUNING", adapter, base_model), {{kPrompt, adapter.soft_prompt}}};
  out.config["num_virtual_tokens"] = adapter.soft_prompt.size(0);
  out.config["token_dim"] = adapter.soft_prompt.size(1);
  out.config["num_transformer_submodules"] = 1;
  out.config["prompt_tuning_init"] = "RANDOM";
  if (!adapter.task_columns.defined()) return out;
  out.config["peft_type"] = "MULTITASK_PROMPT_TUNING";
  out.config["num_tasks"] = adapter.task_columns.size(0);
  out.config["num_ranks"] = adapter.task_columns.size(2);
  out.tensors[kTaskColumns] = adapter.task_columns;
  out.tensors[kTaskRows] = adapter.task_rows;
  return out;
}

Folder prefix_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("PREFIX_TUNING", adapter, base_model), {{kPrompt, adapter.prefix}}};
  out.config["num_virtual_tokens"] = adapter.prefix.size(0);
  out.config["num_transformer_submodules"] = 1;
  out.config["prefix_projection"] = false;
  return out;
}

Folder vera_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("VERA", adapter, base_model), {{kVeraA, adapter.shared_a}, {kVeraB, adapter.shared_b}}};
  std::set<std::string> targets;
  for (const auto& [site, d] : adapter.derived) {
    targets.insert(site);
    out.tensors[std::string(kPrefix) + site + ".vera_lambda_d"] = d.input_gains;
    out.tensors[std::string(kPrefix) + site + ".vera_lambda_b"] = d.output_gains;
  }
  out.config["target_modules"] = modules(targets);
  out.config["r"] = adapter.shared_a.size(0);
  out.config["save_projection"] = true;
  return out;
}

Folder norms_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("LN_TUNING", adapter, base_model), {}};
  std::set<std::string> targets;
  for (const auto& [norm, weight] : adapter.norms) {
    targets.insert(norm);
    out.tensors[std::string(kPrefix) + norm + ".ln_tuning_layers.weight"] = weight;
  }
  out.config["target_modules"] = modules(targets);
  return out;
}

Folder own_folder(const Adapter& adapter, const std::string& base_model) {
  Folder out{config_of("QUIVER", adapter, base_model), {}};
  const auto put = [&](const std::string& module, const char* suffix, const at::Tensor& t) {
    if (t.defined()) out.tensors[std::string(kPrefix) + module + suffix] = t;
  };
  for (const auto& [site, f] : adapter.sites) {
    put(site, ".lora_A.weight", f.a);
    put(site, ".lora_B.weight", f.b);
    out.config["scales"][site] = f.scale;
  }
  for (const auto& [site, e] : adapter.extras) {
    put(site, ".input_scale", e.input_scale);
    put(site, ".output_scale", e.output_scale);
    put(site, ".bias", e.bias);
    if (!e.bottleneck) continue;
    const auto& b = *e.bottleneck;
    put(site, ".adapter.down.weight", b.down);
    put(site, ".adapter.down.bias", b.down_bias);
    put(site, ".adapter.up.weight", b.up);
    put(site, ".adapter.up.bias", b.up_bias);
    const auto name = std::find_if(kNonlinearities.begin(), kNonlinearities.end(),
                                   [&](const auto& entry) { return entry.second == b.nonlinearity; });
    const auto reads =
        std::find_if(kReads.begin(), kReads.end(), [&](const auto& entry) { return entry.second == b.reads; });
    const json options{{"scale", b.scale}, {"reads", reads->first}, {"nonlinearity", name->first}};
    QUIVER_CHECK(!out.config.contains("bottleneck") || out.config["bottleneck"] == options, unsupported, "adapter",
                 "bottlenecks of different scale, place or nonlinearity in one adapter");
    out.config["bottleneck"] = options;
  }
  for (const auto& [norm, weight] : adapter.norms) put(norm, ".weight", weight);
  for (const auto& [site, d] : adapter.derived) {
    for (const auto& [suffix, member] : kDerived) put(site, suffix, d.*member);
  }
  const std::pair<const char*, at::Tensor> wholes[]{
      {kPrompt, adapter.soft_prompt}, {"prefix_embeddings", adapter.prefix}, {kTaskColumns, adapter.task_columns},
      {kTaskRows, adapter.task_rows}, {"compacter_rule", adapter.rule},      {kVeraA, adapter.shared_a},
      {kVeraB, adapter.shared_b}};
  for (const auto& [key, tensor] : wholes) {
    if (tensor.defined()) out.tensors[key] = tensor;
  }
  return out;
}

Folder folder_of(const Adapter& adapter, const std::string& base_model) {
  if (only_ia3(adapter)) return ia3_folder(adapter, base_model);
  const bool prompt = adapter.soft_prompt.defined(), prefix = adapter.prefix.defined();
  const bool norms = !adapter.norms.empty(), derived = !adapter.derived.empty();
  // PEFT would compute something else with such a prefix and not say so.
  if (prefix && adapter.encoder_decoder) return own_folder(adapter, base_model);
  if (adapter.sites.empty() && adapter.extras.empty() && int{prompt} + prefix + norms + derived == 1) {
    if (prompt) return prompt_folder(adapter, base_model);
    if (prefix) return prefix_folder(adapter, base_model);
    return norms ? norms_folder(adapter, base_model) : vera_folder(adapter, base_model);
  }
  return own_folder(adapter, base_model);
}

/// The tensors of a folder of a known type.
Adapter of_type(const std::string& type, Tensors tensors, const json& config, const std::string& where) {
  if (type == "IA3") return ia3_of(std::move(tensors), where);
  if (type == "LN_TUNING") return norms_of(std::move(tensors), where);
  if (type == "QUIVER") return own_of(std::move(tensors), config, where);
  if (type == "MULTITASK_PROMPT_TUNING") return mpt_of(std::move(tensors), where);
  if (type == "VERA") return vera_of(std::move(tensors), where);
  if (type == "PROMPT_TUNING" || type == "P_TUNING")
    return vectors_of(std::move(tensors), &Adapter::soft_prompt, config, where);
  auto out = vectors_of(std::move(tensors), &Adapter::prefix, config, where);
  deal_as_peft(out.prefix, config, where);
  return out;
}

}  // namespace

ops::Nonlinearity nonlinearity_of_name(const std::string& name, const std::string& where) {
  const auto found = std::find_if(kNonlinearities.begin(), kNonlinearities.end(),
                                  [&](const auto& entry) { return name == entry.first; });
  QUIVER_CHECK(found != kNonlinearities.end(), unsupported, where,
               "nonlinearity '{}', expected none, relu, gelu, gelu_new, silu or tanh", name);
  return found->second;
}

std::optional<Adapter> read_other_kind(const fs::path& folder) {
  const auto path = folder / kPeftConfigFile;
  if (!fs::exists(path)) return std::nullopt;
  const auto config = json::parse(read_file(path, 1 << 24), nullptr, false);
  if (!config.is_object()) return std::nullopt;
  const auto type = config.value("peft_type", json());
  if (!type.is_string() || type == "LORA" || type == "ADALORA") return std::nullopt;
  // P-tuning is saved as the vectors that its encoder gives.
  const std::set<std::string> known{"P_TUNING",  "IA3",  "PROMPT_TUNING", "PREFIX_TUNING",
                                    "LN_TUNING", "VERA", "QUIVER",        "MULTITASK_PROMPT_TUNING"};
  if (!known.contains(type.get<std::string>())) return std::nullopt;
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
  auto out = of_type(type, std::move(tensors), config, where);
  out.encoder_decoder = config.value("task_type", json()) == "SEQ_2_SEQ_LM";
  return out;
}

void write_other_kind(const fs::path& folder, const Adapter& given, const std::string& base_model) {
  auto adapter = given;
  if (given.prefix_map.embedding.defined()) {
    // Kept as what it gives: the map serves training alone.
    adapter.prefix_map = {};
    adapter.prefix = given.prefix_map.value();
  }
  auto files = folder_of(adapter, base_model);
  for (auto& [name, tensor] : files.tensors) tensor = tensor.detach().to(at::kFloat).contiguous();
  tensor_io::write_safetensors(folder / kPeftWeightsFile, files.tensors, {{"format", "pt"}});
  write_file_atomically(folder / kPeftConfigFile, files.config.dump(2) + "\n");
}

}  // namespace quiver::adapter
