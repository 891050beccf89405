// SPDX-License-Identifier: Apache-2.0
// A base model whose own weights are trained: for pre-training and full fine-tuning.
//
// All weights lie in one flat vector; the named tensors are views of it that collect their gradients in another.
// `model` builds the network from the weights as they are now, differentiable in them, so a step builds it, uses it,
// and lets it go: the cost is one copy of the weights. Not thread-safe.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "quiver/base/files.h"
#include "quiver/model/model.h"

namespace quiver::model {

class TrainableModel {
 public:
  /// From a Hugging Face folder, in float32: the tensors that the network takes, without copies of tied ones.
  static TrainableModel open(const fs::path& folder);
  /// With random weights: T5's, of the scales that its pre-training starts from. Throws Error{unsupported} on other
  /// architectures.
  static TrainableModel create(nlohmann::json config, std::uint64_t seed);

  at::Tensor parameters;  ///< float32 [P]
  at::Tensor gradient;    ///< float32 [P]
  /// By name, in the order in which they stand in `parameters`: views of it.
  const std::map<std::string, at::Tensor>& weights() const { return weights_; }
  /// Valid until `parameters` change. Its fingerprint is empty.
  Model model() const;
  /// Writes config.json and model.safetensors into `folder`, which exists.
  void save(const fs::path& folder) const;

 private:
  TrainableModel(nlohmann::json config, const std::map<std::string, at::Tensor>& start);

  nlohmann::json config_;
  std::map<std::string, at::Tensor> weights_;  ///< views of `parameters`
};

}  // namespace quiver::model
