// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/mttl_sites.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::library {
namespace {

constexpr std::string_view kA = ".lora_a", kB = ".lora_b";

/// Alternatives without what makes them a regular expression, as MTTL takes them when it makes tied parameters.
std::vector<std::string> tied_names(const std::string& tie_params, const std::string& where) {
  std::vector<std::string> out;
  for (auto name : split(tie_params, '|')) {
    std::erase(name, '\\');
    for (std::size_t at; (at = name.find(".*")) != std::string::npos;) name.erase(at, 2);
    QUIVER_CHECK(!name.empty() && name.find_first_of("*+?()[]^$") == std::string::npos, unsupported, where,
                 "'tie_params' = '{}', expected names of parameters with '|' between them", tie_params);
    out.push_back(name);
  }
  return out;
}

/// The path before `name`, where `name` is the whole end of it; "" where it is not.
std::string parent_of(const std::string& parameter, const std::string& name) {
  return parameter.ends_with("." + name) ? parameter.substr(0, parameter.size() - name.size()) : "";
}

bool has_other_half(const std::map<std::string, at::Tensor>& parameters, const std::string& name) {
  if (!name.ends_with(kA)) return true;
  return parameters.contains(name.substr(0, name.size() - kA.size()) + std::string(kB));
}

struct Parameter {
  std::string module;
  bool is_a;
};

Parameter split_name(const std::string& name, const std::string& where) {
  const bool a = name.ends_with(kA), b = name.ends_with(kB);
  QUIVER_CHECK((a || b) && name.size() > kA.size(), unsupported, where,
               "parameter '{}' is not MODULE.lora_a or MODULE.lora_b: only LoRA experts are read", name);
  return {name.substr(0, name.size() - kA.size()), a};
}

/// `HEAD.N.REST` with HEAD given: N and REST; false where the path is another.
bool split_layer(std::string_view path, std::string_view head, int& layer, std::string& rest) {
  if (!path.starts_with(head)) return false;
  const auto* begin = path.data() + head.size();
  const auto* end = path.data() + path.size();
  const auto [after, error] = std::from_chars(begin, end, layer);
  if (error != std::errc() || after == end || *after != '.') return false;
  rest = std::string(after + 1, end);
  return true;
}

bool is_old_phi(const std::string& rest) {
  return rest.starts_with("mixer.") || rest == "mlp.fc1" || rest == "mlp.fc2";
}

struct Place {
  std::string path;        ///< of the site, or of the parent of q, k and v
  bool fused_qkv = false;  ///< the module is Wqkv
};

Place place_of_old_phi(int layer, const std::string& rest) {
  const auto prefix = fmt::format("model.layers.{}.", layer);
  if (rest == "mixer.Wqkv") return {prefix + "self_attn.", true};
  if (rest == "mixer.out_proj") return {prefix + "self_attn.dense"};
  return {prefix + rest};
}

/// `embedding_is_layer_0`: of an old Phi whose layers are counted from the embedding.
Place place_of(const std::string& module, bool embedding_is_layer_0, const std::string& where) {
  int layer = 0;
  std::string rest;
  if (split_layer(module, "transformer.h.", layer, rest) && is_old_phi(rest)) return place_of_old_phi(layer, rest);
  if (embedding_is_layer_0 && split_layer(module, "layers.", layer, rest)) {
    QUIVER_CHECK(layer >= 1, mismatch, where, "module '{}': layer 0 of this layout is the embedding", module);
    return place_of_old_phi(layer - 1, rest);
  }
  if (module.starts_with("layers.")) return {"model." + module};
  if (module.starts_with("model.model.")) return {module.substr(6)};
  return {module};
}

void check_factors(const std::string& module, const ops::LoraFactors& f, const std::string& where) {
  QUIVER_CHECK(f.a.defined() && f.b.defined(), format, where, "module '{}' has lora_{} but not lora_{}", module,
               f.a.defined() ? "a" : "b", f.a.defined() ? "b" : "a");
  QUIVER_CHECK(f.a.dim() == 2 && f.b.dim() == 2 && f.a.size(0) == f.b.size(1) && f.a.size(0) >= 1, mismatch, where,
               "module '{}': lora_a and lora_b are not [in, R] and [R, out] of one rank", module);
}

void add_site(std::map<std::string, ops::LoraFactors>& sites, const std::string& name, const ops::LoraFactors& factors,
              const std::string& where) {
  QUIVER_CHECK(sites.emplace(name, factors).second, format, where, "two modules are the site '{}'", name);
}

}  // namespace

void add_tied_parameters(std::map<std::string, at::Tensor>& parameters, const std::string& tie_params,
                         const std::string& where) {
  const auto names = tied_names(tie_params, where);
  std::map<std::string, std::string> source;  // of a parent: the first tied parameter
  for (const auto& [parameter, tensor] : parameters) {
    for (const auto& name : names) {
      const auto parent = parent_of(parameter, name);
      if (parent.empty()) continue;
      const auto& first = parameters.at(source.try_emplace(parent, parameter).first->second);
      QUIVER_CHECK(first.sizes() == tensor.sizes() && at::allclose(first, tensor), mismatch, where,
                   "'{}' and '{}' are tied by 'tie_params' and differ", source[parent], parameter);
    }
  }
  for (const auto& [parent, first] : source) {
    for (const auto& name : names) {
      // A tied lora_a whose module has no lora_b would change nothing.
      if (has_other_half(parameters, parent + name)) parameters.try_emplace(parent + name, parameters.at(first));
    }
  }
}

std::map<std::string, ops::LoraFactors> sites_of_parameters(const std::map<std::string, at::Tensor>& parameters,
                                                            const std::string& where) {
  std::map<std::string, ops::LoraFactors> modules, sites;
  bool embedding_is_layer_0 = false;
  for (const auto& [name, tensor] : parameters) {
    const auto [module, is_a] = split_name(name, where);
    QUIVER_CHECK(tensor.is_floating_point() && tensor.dim() == 2, mismatch, where,
                 "parameter '{}' is no matrix of floating-point numbers", name);
    (is_a ? modules[module].a : modules[module].b) = tensor.to(at::kFloat).t().clone(at::MemoryFormat::Contiguous);
    embedding_is_layer_0 |= module.starts_with("layers.") && module.find(".mixer.") != std::string::npos;
  }
  QUIVER_CHECK(!modules.empty(), format, where, "the file holds no parameters");
  for (const auto& [module, factors] : modules) {
    check_factors(module, factors, where);
    const auto place = place_of(module, embedding_is_layer_0, where);
    if (!place.fused_qkv) {
      add_site(sites, place.path, factors, where);
      continue;
    }
    const auto third = factors.b.size(0) / 3;
    QUIVER_CHECK(factors.b.size(0) == 3 * third, mismatch, where, "module '{}': {} outputs are not q, k and v", module,
                 factors.b.size(0));
    for (int part = 0; part < 3; ++part) {
      constexpr const char* kNames[] = {"q_proj", "k_proj", "v_proj"};
      add_site(sites, place.path + kNames[part],
               {factors.a, factors.b.narrow(0, part * third, third).contiguous(), 1.0}, where);
    }
  }
  return sites;
}

}  // namespace quiver::library
