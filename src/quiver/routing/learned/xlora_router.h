// SPDX-License-Identifier: Apache-2.0
// X-LoRA (Buehler and Buehler, 2024, arXiv 2402.07148): a first pass of the base model gives each token's final hidden
// state; a small network turns it into weights of the experts at every site, for the second pass.
#pragma once

#include "quiver/base/options.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

struct XLoraNetwork {
  std::vector<at::Tensor> weights;  ///< per linear map [out, in], ReLU between; the last one's out is sites * E, or E
  std::vector<at::Tensor> biases;   ///< per linear map [out]
  bool per_site = true;      ///< weights of its own for each site that an expert touches, in the order of the sites
  bool softmax = true;       ///< over the experts
  double temperature = 1.0;  ///< of the softmax
  std::int64_t top_k = 0;    ///< the largest weights are kept as they are, the others become 0; 0: all
  double scaling = 1.0;      ///< of all weights (PEFT's global_scaling_weight)
};

/// top_k, temperature: what a route may say of a trained network.
void describe(XLoraNetwork& options, OptionSet& set);

/// depth, per_site: of a network that is trained or kept.
void describe_shape(int& depth, bool& per_site, OptionSet& set);

class XLoraRouter : public Router {
 public:
  XLoraRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model, XLoraNetwork network);
  /// A request keeps the keys and values of its first pass, as many as its row has in the second.
  std::unique_ptr<Sessions> sessions() const override;
  /// Weights [T, sites or 1, E] for final hidden states [T, D]; differentiable in the network.
  at::Tensor weights(const at::Tensor& hidden) const;

 private:
  class XLoraSessions;
  std::shared_ptr<const adapter::Bank> bank_;
  model::Model model_;
  XLoraNetwork network_;
  std::vector<std::int64_t> touched_;  ///< per site: its place among the sites touched, or -1
  std::int64_t places_ = 0;
};

}  // namespace quiver::routing
