// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

#include "quiver/adapter/module_pattern.h"
#include "quiver/adapter/traits.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/library/mttl_library.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::library {
namespace {

using nlohmann::json;

std::int64_t largest_rank(const adapter::Adapter& adapter) {
  std::int64_t out = 1;
  for (const auto& [site, f] : adapter.sites) out = std::max(out, f.a.size(0));
  return out;
}

/// What makes alpha / rank the scale of the first site, which mostly is that of all.
double alpha_for(const adapter::Adapter& adapter, std::int64_t rank) {
  const double own = adapter.options.alpha, scale = adapter.sites.begin()->second.scale;
  if (adapter::lora_scale(own, rank, false) == scale && scale > 0) return own;
  return static_cast<double>(rank) * (scale > 0 ? scale : 1.0);
}

/// [rows, columns] with zeros below.
at::Tensor padded(const at::Tensor& matrix, std::int64_t rows) {
  auto out = at::zeros({rows, matrix.size(1)}, at::kFloat);
  out.narrow(0, 0, matrix.size(0)).copy_(matrix);
  return out;
}

std::vector<std::pair<std::string, at::Tensor>> parameters_of(const adapter::Adapter& adapter, std::int64_t rank,
                                                              double alpha) {
  std::vector<std::pair<std::string, at::Tensor>> out;
  const double usual = adapter::lora_scale(alpha, rank, false);
  for (const auto& [site, f] : adapter.sites) {
    const bool as_usual = std::abs(f.scale - usual) <= 1e-9 * usual;
    const auto b = padded(f.b.detach().to(at::kFloat).t(), rank);
    out.emplace_back(site + ".lora_a", padded(f.a.detach().to(at::kFloat), rank).t().contiguous());
    out.emplace_back(site + ".lora_b", as_usual ? b : b * (f.scale / usual));
  }
  return out;
}

bool is_number(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// `.*` where every layer up to the last has the same modules, else every parent by its name: MTTL adapts the children
/// that match modify_layers of the modules that match modify_modules.
std::string modules_pattern(const std::set<std::string>& parents) {
  std::map<std::string, std::set<std::string>> layers_of;  // parent without its layer's number: the numbers
  for (const auto& parent : parents) {
    const auto parts = split(parent, '.');
    auto at = parts.size() < 3 ? 0 : parts.size() - 2;  // the last number between other parts
    while (at > 0 && !is_number(parts[at])) --at;
    if (at == 0) continue;
    auto without = parts;
    without[at] = "N";
    layers_of[join(without, ".")].insert(parts[at]);
  }
  std::set<std::string> all;
  for (const auto& [name, layers] : layers_of) all.insert(layers.begin(), layers.end());
  const bool regular = std::all_of(layers_of.begin(), layers_of.end(), [&](const auto& entry) {
    return entry.second == all && all.contains("0") && all.contains(std::to_string(all.size() - 1));
  });
  if (regular && !all.empty()) return ".*";
  std::vector<std::string> escaped;
  for (const auto& parent : parents) escaped.push_back(adapter::escaped_module(parent));
  return join(escaped, "|");
}

json config_of(const adapter::Adapter& adapter, std::int64_t rank, double alpha) {
  std::set<std::string> parents, leaves;
  for (const auto& [site, f] : adapter.sites) {
    const auto dot = site.rfind('.');
    leaves.insert(site.substr(dot + 1));
    parents.insert(dot == std::string::npos ? "" : site.substr(0, dot));
  }
  return {{"class_name", "mttl.models.modifiers.lora.LoRAConfig"},
          {"modify_modules", modules_pattern(parents)},
          {"modify_layers", join({leaves.begin(), leaves.end()}, "|")},
          {"tie_params", nullptr},
          {"lora_rank", rank},
          {"lora_alpha", alpha},
          {"lora_dropout", adapter.options.dropout},
          {"lora_init_b_random", false}};
}

/// What MTTL kept of the training where it came from there, else Quiver's own record of it.
json training_of(const ExpertInfo& info, const std::string& base_model) {
  auto out = info.training;
  if (out.is_object() && out.value("source", json()) == "mttl") {
    out = out.value("mttl", json::object()).value("training_config", json::object());
  }
  if (!out.is_object()) out = json::object();
  if (!out.contains("model")) out["model"] = base_model;
  return out;
}

}  // namespace

std::string mttl_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::string write_mttl_expert(const fs::path& folder, const ExpertInfo& info, const adapter::Adapter& adapter,
                              const std::string& base_model) {
  adapter::require(info.name, adapter,
                   {"--format mttl",
                    {adapter::Trait::low_rank},
                    false,
                    "MTTL keeps low-rank factors; export it with --format peft"});
  QUIVER_CHECK(!adapter.sites.empty(), unsupported, "--format mttl", "expert '{}' touches no site", info.name);
  const auto name = mttl_name(info.name);
  QUIVER_CHECK(!fs::exists(folder / (name + ".meta")), usage, "expert " + info.name,
               "two experts would be '{}' in MTTL, which allows no dots in names", name);
  const auto rank = largest_rank(adapter);
  const double alpha = alpha_for(adapter, rank);
  tensor_io::write_torch_archive(folder / (name + ".ckpt"), parameters_of(adapter, rank, alpha));
  const json meta{{"class_name", "mttl.models.library.expert_library.MetadataEntry"},
                  {"expert_name", name},
                  {"expert_task_name", info.tasks.empty() ? json() : json(join(info.tasks, ","))},
                  {"parent_node", nullptr},
                  {"expert_config", config_of(adapter, rank, alpha)},
                  {"training_config", training_of(info, base_model)},
                  {"expert_model", base_model},
                  {"expert_deleted", false}};
  tensor_io::write_torch_archive(folder / (name + ".meta"), meta);
  return name;
}

}  // namespace quiver::library
