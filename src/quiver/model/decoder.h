// SPDX-License-Identifier: Apache-2.0
// A decoder-only network: one causal stack with rotary positions.
#pragma once

#include "quiver/model/decoder_layer.h"
#include "quiver/model/network.h"

namespace quiver::model {

class Decoder : public Network {
 public:
  struct Weights {
    at::Tensor embedding;  ///< [V, D]
    std::vector<DecoderLayer> layers;
    RmsNorm final_norm;
    at::Tensor head;  ///< [V, D]; the embedding itself where tied
  };
  Decoder(DecoderConfig config, Weights weights);

  const ModelConfig& config() const override { return config_; }
  at::Tensor forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const override;
  const at::Tensor& embedding() const override { return weights_.embedding; }
  const at::Tensor& head() const override { return weights_.head; }
  std::int64_t parameters() const override;

 private:
  DecoderConfig config_;
  Weights weights_;
  RotaryTable rotary_;
};

}  // namespace quiver::model
