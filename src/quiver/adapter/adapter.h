// SPDX-License-Identifier: Apache-2.0
// An adapter: what was trained beside a frozen base model. LoRA factors attached to sites (Hu et al., 2021), in PEFT's
// orientation and names; and other parts: scales, biases, bottlenecks, weights of norms, vectors, keys and values
// before the prompt. What an adapter may be applied by is traits.h's, how its kinds start and are kept kind.h's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
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
  /// Sites by the end of their names (`q_proj`), or regular expressions over whole names; empty: every site.
  std::vector<std::string> targets = {};
  enum class Init {
    peft,  ///< A ~ U(-1/sqrt(in), 1/sqrt(in)) (Kaiming, a = sqrt 5), B = 0
    mttl,  ///< A ~ U(-g, g), g = gain(leaky_relu, sqrt 5) / sqrt(in) = 1/sqrt(3 in), B = 0
    pemt,  ///< A as peft, B ~ U(-1/sqrt(rank), 1/sqrt(rank)): training does not start at the base model (arXiv
           ///< 2402.15082)
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
  /// Keys and values that stand before the prompt in every layer (Li and Liang, 2021): [m, layers x 2 x K x d], by
  /// layer keys, then values, K heads of width d, keys as they are after rotation.
  at::Tensor prefix = {};
  /// Tensors that the parts above are worked out from (derived.h), by place (a site; "": of the adapter as a whole),
  /// then by the end of their keys in files: what a kind stores (kind.h).
  std::map<std::string, std::map<std::string, at::Tensor>> stored = {};
  bool encoder_decoder = false;  ///< what it is for; of vectors alone nothing else tells
  std::int64_t parameters() const;
  /// Undefined where it is not there.
  at::Tensor stored_at(const std::string& place, const std::string& key) const;
};

/// PEFT's name of what the adapter's model does, by which PEFT chooses how it reads vectors: CAUSAL_LM or SEQ_2_SEQ_LM.
std::string task_type(const Adapter& adapter);

/// Calls visit(tensor) for every tensor of the adapter that is trained, in an order that its names alone decide.
void for_each_tensor(Adapter& adapter, const std::function<void(at::Tensor&)>& visit);
void for_each_tensor(const Adapter& adapter, const std::function<void(const at::Tensor&)>& visit);

/// peft, mttl, pemt.
const std::vector<std::pair<std::string, LoraOptions::Init>>& inits();

/// alpha and rank as a scale.
double lora_scale(double alpha, std::int64_t rank, bool rank_stabilised);

/// Numbers in a token's keys at one layer, K x d.
std::int64_t key_width(const model::Model& model);

/// Random factors for the targeted sites (module_pattern.h). Throws Error{usage} where a target matches none, or an
/// option is out of range.
Adapter make_lora(const model::Model& model, const LoraOptions& options, std::uint64_t seed);

}  // namespace quiver::adapter
