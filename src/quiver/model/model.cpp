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

Model::Model(std::shared_ptr<const Network> network, std::vector<Site> sites, std::vector<Norm> norms,
             std::string fingerprint)
    : body_(std::make_shared<const Body>(
          Body{std::move(network), std::move(sites), std::move(norms), std::move(fingerprint)})) {}

std::optional<std::int64_t> Model::site_number(const std::string& name) const {
  const auto& all = sites();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Site& site) { return site.name == name; });
  if (found == all.end()) return std::nullopt;
  return found - all.begin();
}

std::vector<std::string> Model::site_endings(Role role) const {
  std::vector<std::string> out;
  for (const auto& site : sites()) {
    const auto ending = site.name.substr(site.name.rfind('.') + 1);
    if (site.role == role && std::find(out.begin(), out.end(), ending) == out.end()) out.push_back(ending);
  }
  return out;
}

at::Tensor Model::forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  check_batch(batch, config());
  return body_->network->forward(batch, experts, activations);
}

at::Tensor Model::logits(const at::Tensor& hidden) const {
  return ops::frozen_linear(hidden, head(), {}).to(at::kFloat);
}

}  // namespace quiver::model
