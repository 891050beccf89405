// SPDX-License-Identifier: Apache-2.0
// New adapters of every kind, by name: lora, dora, vera, ia3, bitfit, norms, bottleneck, compacter, parallel,
// parallel-mlp, prompt, mpt, prefix, and whatever else kinds/table.cpp lists.
#pragma once

#include <any>
#include <map>
#include <set>
#include <typeindex>

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

/// What the kinds read. Options that several read are fields; those of one kind are a struct of its file, which the
/// file also describes (kind.h). Copies are independent.
struct KindOptions {
  std::set<std::string> kinds{"lora"};  ///< several: one adapter that has all of them
  std::int64_t width = 48;              ///< of bottlenecks
  ops::Nonlinearity nonlinearity = ops::Nonlinearity::gelu_tanh;
  double scale = 1.0;               ///< of bottlenecks
  std::int64_t prompt_tokens = 20;  ///< vectors of a prompt, which start as embeddings of random tokens, or of a prefix
  /// Of ia3, bitfit, vera and bottlenecks, as LoraOptions::targets; empty: each kind's usual sites.
  std::vector<std::string> targets;
  bool plain_lora() const { return kinds == std::set<std::string>{"lora"}; }

  /// The options of type T; their defaults where none were set.
  template <typename T>
  T of() const {
    const auto found = of_one_kind.find(typeid(T));
    return found == of_one_kind.end() ? T{} : std::any_cast<const T&>(found->second);
  }
  /// The same, to be set. Stays where it is until the struct is assigned to.
  template <typename T>
  T& of() {
    auto& place = of_one_kind[typeid(T)];
    if (!place.has_value()) place = T{};
    return std::any_cast<T&>(place);
  }
  std::map<std::type_index, std::any> of_one_kind = {};
};

struct KindHelp {
  std::string name, summary;
  std::vector<std::string> options;  ///< names of the LoraOptions and KindOptions that it reads
};
/// Every kind, for help and for crossings.
std::vector<KindHelp> kind_help();
/// Throws Error{usage} with the nearest name.
void check_kind_name(const std::string& name);

/// What an adapter is made of, by what it holds.
std::set<std::string> kinds_of(const Adapter& adapter);

/// Every kind asked for, at its start: where nothing is to be added at first, nothing is. Throws Error{usage} where
/// targets match no site, two kinds want one place or an option is out of range.
Adapter make_adapter(const model::Model& model, const LoraOptions& lora, const KindOptions& options,
                     std::uint64_t seed);

/// none, relu, gelu, gelu_new (the tanh form), silu, tanh.
const std::vector<std::pair<std::string, ops::Nonlinearity>>& nonlinearities();
/// Throws Error{unsupported}.
ops::Nonlinearity nonlinearity_of_name(const std::string& name, const std::string& where);
std::string nonlinearity_name(ops::Nonlinearity nonlinearity);

}  // namespace quiver::adapter
