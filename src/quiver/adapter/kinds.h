// SPDX-License-Identifier: Apache-2.0
// New adapters of every kind.
#pragma once

#include <set>

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

enum class Kind {
  lora,          ///< low-rank factors (Hu et al., 2021)
  ia3,           ///< scales of keys, values and of the MLP's inner states, from 1 on (Liu et al., 2022)
  bitfit,        ///< biases, from 0 on (Ben Zaken et al., 2022)
  norms,         ///< the weights of norms, from the base model's on
  bottleneck,    ///< in series, after sites (Houlsby et al., 2019; Pfeiffer et al., 2021)
  parallel,      ///< a bottleneck beside each site, from input to output (LLM-Adapters)
  parallel_mlp,  ///< a bottleneck beside each feed-forward block (He et al., 2022)
  mpt,           ///< a prompt times a product of low rank, for tasks that share the prompt (Wang et al., 2023)
  prompt,        ///< vectors before the prompt (Lester et al., 2021)
  prefix,        ///< keys and values before the prompt, or a decoder's answer, in every layer (Li and Liang, 2021)
  dora,          ///< low-rank factors, and the lengths of the weight's rows (Liu et al., 2024)
  vera,          ///< gains of random factors that all sites share (Kopiczko et al., 2024)
  compacter,     ///< bottlenecks in series whose maps are sums of Kronecker products (Mahabadi et al., 2021)
};

struct KindOptions {
  std::set<Kind> kinds{Kind::lora};  ///< several: one adapter that has all of them
  std::int64_t width = 48;           ///< of bottlenecks
  ops::Nonlinearity nonlinearity = ops::Nonlinearity::gelu_tanh;
  double scale = 1.0;               ///< of bottlenecks
  std::int64_t prompt_tokens = 20;  ///< vectors of a prompt, which start as embeddings of random tokens, or of a prefix
  std::int64_t prefix_hidden = 0;   ///< a prefix is trained through a map with so many hidden units; 0: as it is
  std::int64_t prompt_rank = 1;     ///< MPT's r
  std::int64_t tasks = 1;           ///< MPT's K
  std::int64_t products = 4;        ///< Compacter's n
  /// Of ia3, bitfit and bottlenecks, as LoraOptions::targets; empty: each kind's usual sites. IA3: k, v, and the input
  /// of the MLP's last map. BitFit, VeRA: all. Bottlenecks, Compacter: outputs of attention and MLP.
  std::vector<std::string> targets;
  bool plain_lora() const { return kinds == std::set<Kind>{Kind::lora}; }
};

/// lora, ia3, bitfit, norms, bottleneck, parallel, parallel-mlp, mpt, prompt, prefix, dora, vera, compacter. Throws
/// Error{usage} with the nearest name.
Kind kind_of_name(const std::string& name);
std::string kind_name(Kind kind);
/// What an adapter is made of, by what it holds: bottlenecks of every place are `bottleneck`.
std::set<Kind> kinds_of(const Adapter& adapter);

/// Every kind asked for, at its start: where nothing is to be added at first, nothing is. Throws Error{usage} where
/// targets match no site or an option is out of range.
Adapter make_adapter(const model::Model& model, const LoraOptions& lora, const KindOptions& options,
                     std::uint64_t seed);

}  // namespace quiver::adapter
