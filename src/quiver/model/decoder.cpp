// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/decoder.h"

#include <c10/core/GradMode.h>

#include "quiver/ops/recompute.h"

namespace quiver::model {

Decoder::Decoder(DecoderConfig config, Weights weights)
    : config_(std::move(config)), weights_(std::move(weights)), rotary_(config_) {}

std::int64_t Decoder::parameters() const {
  std::int64_t count = weights_.embedding.numel() + weights_.final_norm.weight.numel();
  if (!config_.tied_head) count += weights_.head.numel();
  for (const auto& layer : weights_.layers) {
    count += layer.attention_norm.weight.numel() + layer.mlp_norm.weight.numel();
    for (const auto* linear : {&layer.query_key_value, &layer.output, &layer.gate_up, &layer.down})
      count += linear->parameters();
  }
  return count;
}

at::Tensor Decoder::forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  const auto angles = rotary_.at_positions(batch.positions);
  auto x = embedded(weights_.embedding, batch);
  for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
    const auto layer = [this, &batch, angles, experts, i](const at::Tensor& in) {
      return model::forward(weights_.layers[i], in, {config_, batch, angles, experts, i});
    };
    const bool again = activations == Activations::recompute && x.requires_grad() && c10::GradMode::is_enabled();
    x = again ? ops::recomputed(layer, x) : layer(x);
  }
  for (const auto& row : batch.rows) {
    if (row.cache && row.extend_cache) row.cache->advance(row.count);
  }
  return weights_.final_norm.forward(x, config_.norm_epsilon, experts);
}

}  // namespace quiver::model
