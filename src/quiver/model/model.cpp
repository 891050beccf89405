// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/model.h"

#include <ATen/ops/embedding.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/ops/recompute.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::model {

LanguageModel::LanguageModel(DecoderConfig config, Weights weights, std::vector<Site> sites, std::string fingerprint)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      sites_(std::move(sites)),
      fingerprint_(std::move(fingerprint)),
      rotary_(config_) {}

std::optional<std::int64_t> LanguageModel::site_number(const std::string& name) const {
  const auto found = std::find_if(sites_.begin(), sites_.end(), [&](const Site& site) { return site.name == name; });
  if (found == sites_.end()) return std::nullopt;
  return found - sites_.begin();
}

std::int64_t LanguageModel::parameters() const {
  std::int64_t count = weights_.embedding.numel() + weights_.final_norm.numel();
  if (!config_.tied_head) count += weights_.head.numel();
  for (const auto& layer : weights_.layers) {
    count += layer.attention_norm.numel() + layer.mlp_norm.numel();
    for (const auto* linear : {&layer.query_key_value, &layer.output, &layer.gate_up, &layer.down}) {
      count += linear->weight.numel() + (linear->bias.defined() ? linear->bias.numel() : 0);
    }
  }
  return count;
}

void LanguageModel::check_batch(const PackedBatch& batch) const {
  const auto* ids = batch.ids.const_data_ptr<std::int64_t>();
  const auto outside =
      std::find_if(ids, ids + batch.tokens(), [&](auto id) { return id < 0 || id >= config_.vocabulary; });
  QUIVER_CHECK(outside == ids + batch.tokens(), mismatch, "model", "token id {} is outside the vocabulary of {}",
               *outside, config_.vocabulary);
  for (const auto& row : batch.rows) {
    const auto total = row.count + (row.cache ? row.cache->length() : 0);
    QUIVER_CHECK(total <= config_.max_positions, mismatch, "model", "a row of {} tokens, the model's context is {}",
                 total, config_.max_positions);
  }
}

at::Tensor LanguageModel::forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  check_batch(batch);
  const auto angles = rotary_.at_positions(batch.positions);
  auto x = at::embedding(weights_.embedding, batch.ids);
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
  return ops::rms_norm(x, weights_.final_norm, config_.norm_epsilon);
}

at::Tensor LanguageModel::logits(const at::Tensor& hidden) const {
  return ops::frozen_linear(hidden, weights_.head, {}).to(at::kFloat);
}

}  // namespace quiver::model
