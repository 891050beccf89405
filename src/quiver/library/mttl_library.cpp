// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/mttl_library.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/library/mttl_sites.h"
#include "quiver/tensor_io/strict_json.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::library {
namespace {

using nlohmann::json;
using tensor_io::PickleValue;
using Kind = PickleValue::Kind;

/// A key that is there and not None; else null.
const PickleValue* field(const PickleValue* value, const char* key) {
  const auto* found = value ? value->find(key) : nullptr;
  return found && !found->is_none() ? found : nullptr;
}

std::optional<double> number_field(const PickleValue* value, const char* key, const std::string& where) {
  const auto* found = field(value, key);
  if (!found) return std::nullopt;
  QUIVER_CHECK(found->kind == Kind::integer || found->kind == Kind::real, format, where,
               "'{}' is {}, expected a number", key, kind_name(found->kind));
  return found->kind == Kind::real ? found->real : static_cast<double>(found->integer);
}

std::string text_field_or(const PickleValue* value, const char* key, const std::string& otherwise,
                          const std::string& where) {
  const auto* found = field(value, key);
  if (!found) return otherwise;
  QUIVER_CHECK(found->kind == Kind::text, format, where, "'{}' is {}, expected text", key, kind_name(found->kind));
  return found->text;
}

json json_field(const PickleValue* value, const char* key) {
  const auto* found = field(value, key);
  return found ? tensor_io::pickle_to_json(*found) : json();
}

/// What the metadata says of LoRA, from the expert's own configuration or else from that of its training.
struct Config {
  std::optional<double> rank, alpha;
  double dropout = 0.0;
  std::string tie_params;
};

void check_is_lora(const PickleValue* config, const std::string& where) {
  auto type = text_field_or(config, "class_name", "", where);
  if (type.empty() && config && config->kind == Kind::object) type = config->text;
  if (type.empty()) type = text_field_or(config, "__model_modifier__", "lora", where);
  QUIVER_CHECK(type == "lora" || type == "LoRAConfig" || type.ends_with(".LoRAConfig"), unsupported, where,
               "an expert of kind '{}', expected LoRA", type);
}

Config config_of(const PickleValue* meta, const std::string& where) {
  Config out;
  const auto *own = field(meta, "expert_config"), *training = field(meta, "training_config");
  check_is_lora(own, where);
  for (const auto* source : {training, own}) {  // the second wins
    if (const auto value = number_field(source, "lora_rank", where)) out.rank = value;
    if (const auto value = number_field(source, "lora_alpha", where)) out.alpha = value;
    if (const auto value = number_field(source, "lora_dropout", where)) out.dropout = *value;
    out.tie_params = text_field_or(source, "tie_params", out.tie_params, where);
  }
  return out;
}

/// Of one rank, which is what the configuration says where it says one.
std::int64_t rank_of(const adapter::Adapter& adapter, const Config& config, const std::string& where) {
  const auto rank = adapter.sites.begin()->second.a.size(0);
  for (const auto& [site, f] : adapter.sites) {
    QUIVER_CHECK(f.a.size(0) == rank && (!config.rank || static_cast<double>(rank) == *config.rank), mismatch, where,
                 "site '{}' has rank {}, expected {}", site, f.a.size(0),
                 config.rank.value_or(static_cast<double>(rank)));
  }
  return rank;
}

double alpha_of(const Config& config, std::optional<double> given, const std::string& where) {
  const auto alpha = config.alpha ? config.alpha : given;
  QUIVER_CHECK(alpha, usage, where,
               "the metadata does not say lora_alpha, and MTTL's default has been 1 and 16: give --alpha");
  QUIVER_CHECK(std::isfinite(*alpha) && *alpha > 0, format, where, "'lora_alpha' is {}, expected a positive number",
               *alpha);
  return *alpha;
}

void read_factors(ImportedExpert& expert, const fs::path& file, const Config& config, std::optional<double> alpha) {
  const auto where = file.string();
  const auto source = tensor_io::open_torch_tensors(file);
  std::map<std::string, at::Tensor> parameters;
  for (const auto& [name, info] : source->tensors()) parameters[name] = source->load(name);
  if (!config.tie_params.empty()) add_tied_parameters(parameters, config.tie_params, where);
  auto& adapter = expert.adapter;
  adapter.sites = sites_of_parameters(parameters, where);
  adapter.options.rank = rank_of(adapter, config, where);
  adapter.options.alpha = alpha_of(config, alpha, where);
  adapter.options.dropout = config.dropout;
  for (auto& [site, f] : adapter.sites) f.scale = adapter::lora_scale(adapter.options.alpha, f.a.size(0), false);
}

void read_metadata(ImportedExpert& expert, const PickleValue& meta, const std::string& where) {
  QUIVER_CHECK(meta.kind == Kind::dictionary || meta.kind == Kind::object, format, where,
               "holds {}, expected the expert's metadata", kind_name(meta.kind));
  const auto name = text_field_or(&meta, "expert_name", expert.info.name, where);
  QUIVER_CHECK(name == expert.info.name, mismatch, where, "is the metadata of expert {}", tensor_io::excerpt(name));
  for (const auto& task : split(text_field_or(&meta, "expert_task_name", "", where), ',')) {
    if (!trim(task).empty()) expert.info.tasks.push_back(trim(task));
  }
  const auto* deleted = field(&meta, "expert_deleted");
  expert.deleted = deleted && deleted->integer != 0;
  expert.info.training = {{"source", "mttl"}, {"mttl", json::object()}};
  for (const auto* key : {"expert_config", "training_config", "expert_model", "parent_node"})
    expert.info.training["mttl"][key] = json_field(&meta, key);
}

/// Scores as JSON, a note where they cannot be read; notes of all other data of the expert.
void read_extras(ImportedExpert& expert, const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto file = entry.path().filename().string();
    if (!file.starts_with(expert.info.name + ".") || !file.ends_with(".bin")) continue;
    if (file == expert.info.name + ".scores.bin") {
      try {
        expert.info.scores = {{"mttl", tensor_io::pickle_to_json(*tensor_io::read_torch_archive(entry.path()).root)}};
      } catch (const Error& error) {
        expert.notes.push_back(fmt::format("scores left out: {}", error.what()));
      }
    } else {
      expert.notes.push_back(file + " left out: derived data is computed anew");
    }
  }
  std::sort(expert.notes.begin(), expert.notes.end());
}

}  // namespace

std::vector<std::string> mttl_expert_names(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.path().extension() == ".meta" && name[0] != '.') out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

ImportedExpert read_mttl_expert(const fs::path& folder, const std::string& name, std::optional<double> alpha) {
  ImportedExpert expert;
  expert.info.name = name;
  const auto file = folder / (name + ".meta");
  const auto meta = tensor_io::read_torch_archive(file);
  read_metadata(expert, *meta.root, file.string());
  if (expert.deleted) return expert;
  const auto config = config_of(meta.root, file.string());
  read_factors(expert, folder / (name + ".ckpt"), config, alpha);
  expert.info.training["options"] = {{"rank", expert.adapter.options.rank}, {"alpha", expert.adapter.options.alpha}};
  read_extras(expert, folder);
  return expert;
}

}  // namespace quiver::library
