// SPDX-License-Identifier: Apache-2.0
// The base model: a frozen language model over packed rows, decoder-only or encoder-decoder.
//
// Immutable after loading and safe to share between threads; what changes between calls (caches, experts) is handed in.
// Copies share the weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quiver/model/network.h"

namespace quiver::model {

class LanguageModel {
 public:
  LanguageModel(std::shared_ptr<const Network> network, std::vector<Site> sites, std::vector<Norm> norms,
                std::string fingerprint);

  const ModelConfig& config() const { return network_->config(); }
  /// All sites, layer by layer and, within one, in the order in which they are computed (q, k, v, o, gate, up, down).
  const std::vector<Site>& sites() const { return sites_; }
  /// All norms, in the order in which they are computed.
  const std::vector<Norm>& norms() const { return norms_; }
  std::optional<std::int64_t> site_number(const std::string& name) const;
  /// 64 hexadecimal digits over names, shapes, dtypes and bytes of the stored tensors.
  const std::string& fingerprint() const { return fingerprint_; }
  std::int64_t parameters() const { return network_->parameters(); }
  at::ScalarType dtype() const { return embedding().scalar_type(); }

  /// Final states as the head takes them: [T, D]. Rows with a cache are continued, and their caches extended where they
  /// say so. An encoder-decoder's prompts go through its encoder, whose states these are; the prompts' caches, where
  /// given, then hold what the answers' layers attend to.
  /// Differentiable in what `experts` bring. Throws Error{mismatch} on ids outside the vocabulary or too long a row.
  /// With Activations::recompute the layers' activations are computed again in the backward pass, until which `batch`
  /// and `experts` must then live.
  at::Tensor forward(const PackedBatch& batch, ExpertSource* experts,
                     Activations activations = Activations::keep) const;
  /// hidden [N, D] -> float32 logits [N, V].
  at::Tensor logits(const at::Tensor& hidden) const;
  const at::Tensor& head() const { return network_->head(); }
  const at::Tensor& embedding() const { return network_->embedding(); }

 private:
  std::shared_ptr<const Network> network_;
  std::vector<Site> sites_;
  std::vector<Norm> norms_;
  std::string fingerprint_;
};

}  // namespace quiver::model
