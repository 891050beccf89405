// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/model.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::model {
namespace {

void check_batch(const PackedBatch& batch, const ModelConfig& config) {
  const auto* ids = batch.ids.const_data_ptr<std::int64_t>();
  const auto outside =
      std::find_if(ids, ids + batch.tokens(), [&](auto id) { return id < 0 || id >= config.vocabulary; });
  QUIVER_CHECK(outside == ids + batch.tokens(), mismatch, "model", "token id {} is outside the vocabulary of {}",
               *outside, config.vocabulary);
  for (const auto& row : batch.rows) {
    const auto total = row.count + (row.cache ? row.cache->length() : 0);
    QUIVER_CHECK(total <= config.max_positions, mismatch, "model", "a row of {} tokens, the model's context is {}",
                 total, config.max_positions);
  }
}

}  // namespace

LanguageModel::LanguageModel(std::shared_ptr<const Network> network, std::vector<Site> sites, std::vector<Norm> norms,
                             std::string fingerprint)
    : network_(std::move(network)),
      sites_(std::move(sites)),
      norms_(std::move(norms)),
      fingerprint_(std::move(fingerprint)) {}

std::optional<std::int64_t> LanguageModel::site_number(const std::string& name) const {
  const auto found = std::find_if(sites_.begin(), sites_.end(), [&](const Site& site) { return site.name == name; });
  if (found == sites_.end()) return std::nullopt;
  return found - sites_.begin();
}

at::Tensor LanguageModel::forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  check_batch(batch, config());
  return network_->forward(batch, experts, activations);
}

at::Tensor LanguageModel::logits(const at::Tensor& hidden) const {
  return ops::frozen_linear(hidden, head(), {}).to(at::kFloat);
}

}  // namespace quiver::model
