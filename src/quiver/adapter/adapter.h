// SPDX-License-Identifier: Apache-2.0
// An adapter: what was trained beside a frozen base model. LoRA factors attached to sites (Hu et al., 2021), in PEFT's
// orientation and names; and other kinds: scales, biases, bottlenecks, weights of norms, vectors before the prompt.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "quiver/model/model.h"
#include "quiver/ops/apply_experts.h"

namespace quiver::adapter {

/// What a new LoRA is made of.
struct LoraOptions {
  std::int64_t rank = 16;
  double alpha = 32.0;           ///< scale = alpha / rank, or alpha / sqrt(rank) with rank_stabilised
  bool rank_stabilised = false;  ///< rsLoRA (Kalajdzievski, 2023)
  double dropout = 0.0;          ///< of the input of A, in training
  /// Sites by the end of their names (`q_proj`), or one regular expression over whole names; empty: every site.
  std::vector<std::string> targets;
  enum class Init {
    peft,  ///< A ~ U(-1/sqrt(in), 1/sqrt(in)) (Kaiming, a = sqrt 5), B = 0
    mttl,  ///< A ~ U(-g, g), g = gain(leaky_relu, sqrt 5) / sqrt(in) = 1/sqrt(3 in), B = 0
  };
  Init init = Init::peft;
  /// A is the same for all experts of a seed and is not trained; B alone is (LoRA-FA, arXiv 2308.03303). Routing by
  /// seqr needs it.
  bool share_a = false;
};

struct Adapter {
  LoraOptions options = {};
  /// By site name; every entry has both factors, float32 unless read otherwise.
  std::map<std::string, ops::LoraFactors> sites = {};
  std::map<std::string, ops::SiteExtras> extras = {};  ///< by site name
  std::map<std::string, at::Tensor> norms = {};        ///< weights [D] by the norm's name
  at::Tensor soft_prompt = {};                         ///< [m, D], read before the prompt (Lester et al., 2021)
  std::int64_t parameters() const;
  /// True where it is LoRA factors and nothing else: what merges, clusterings and prototypes are made of.
  bool only_factors() const { return extras.empty() && norms.empty() && !soft_prompt.defined(); }
};

/// Calls visit(tensor) for every tensor of the adapter, in an order that its names alone decide.
void for_each_tensor(Adapter& adapter, const std::function<void(at::Tensor&)>& visit);
void for_each_tensor(const Adapter& adapter, const std::function<void(const at::Tensor&)>& visit);

/// alpha and rank as a scale.
double lora_scale(double alpha, std::int64_t rank, bool rank_stabilised);

/// True where PEFT would attach `targets` to `site`: a list matches whole names or their ends after a dot; a single
/// entry with regular-expression characters must match the whole name.
bool targets_site(const std::vector<std::string>& targets, const std::string& site);

/// Random factors for the targeted sites. Throws Error{usage} where the targets match none, or an option is out of
/// range.
Adapter make_lora(const model::LanguageModel& model, const LoraOptions& options, std::uint64_t seed);

}  // namespace quiver::adapter
