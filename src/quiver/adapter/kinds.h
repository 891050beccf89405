// SPDX-License-Identifier: Apache-2.0
// New adapters of every kind, by name: lora, dora, vera, ia3, bitfit, norms, bottleneck, compacter, parallel,
// parallel-mlp, prompt, mpt, prefix, and whatever else kinds/table.cpp lists.
#pragma once

#include <set>

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

struct KindOptions {
  std::set<std::string> kinds{"lora"};  ///< several: one adapter that has all of them
  std::int64_t width = 48;              ///< of bottlenecks
  ops::Nonlinearity nonlinearity = ops::Nonlinearity::gelu_tanh;
  double scale = 1.0;               ///< of bottlenecks
  std::int64_t prompt_tokens = 20;  ///< vectors of a prompt, which start as embeddings of random tokens, or of a prefix
  std::int64_t prefix_hidden = 0;   ///< a prefix is trained through a map with so many hidden units; 0: as it is
  std::int64_t prompt_rank = 1;     ///< MPT's r
  std::int64_t tasks = 1;           ///< MPT's K
  std::int64_t products = 4;        ///< Compacter's n
  /// Of ia3, bitfit, vera and bottlenecks, as LoraOptions::targets; empty: each kind's usual sites.
  std::vector<std::string> targets;
  bool plain_lora() const { return kinds == std::set<std::string>{"lora"}; }
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

/// none, relu, gelu, gelu_new (the tanh form), silu, tanh. Throws Error{unsupported}.
ops::Nonlinearity nonlinearity_of_name(const std::string& name, const std::string& where);
std::string nonlinearity_name(ops::Nonlinearity nonlinearity);

}  // namespace quiver::adapter
