// SPDX-License-Identifier: Apache-2.0
// The two files of an adapter's folder, and how tensors are told apart by their keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/adapter/peft_keys.h"

namespace quiver::adapter {

using Tensors = std::map<std::string, at::Tensor>;

inline constexpr const char* kPromptKey = "prompt_embeddings";

struct AdapterFiles {
  nlohmann::json config;
  Tensors tensors;
};

/// The module of a key that ends in `suffix`; empty where it does not.
std::string module_of(const std::string& key, std::string_view suffix);

/// Throws Error{unsupported} where a tensor is left.
void check_known(const Tensors& left, const std::string& where);

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

/// The tensor of exactly this key, of `dims` dimensions, out of `left`; undefined where there is none. Throws
/// Error{format}.
at::Tensor take_one(Tensors& left, const std::string& key, std::int64_t dims, const std::string& where);

/// prompt_embeddings out of `left`, as many of its rows as PEFT reads; nothing else may be left. Throws Error{format}.
at::Tensor take_vectors(Tensors left, const nlohmann::json& config, const std::string& where);

/// What the configuration of every type says.
nlohmann::json config_of(const std::string& type, const Adapter& adapter, const std::string& base_model);
std::vector<std::string> modules(const std::set<std::string>& names);

}  // namespace quiver::adapter
