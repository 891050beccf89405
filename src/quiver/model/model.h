// SPDX-License-Identifier: Apache-2.0
// The base model: a frozen language model over packed rows, decoder-only or encoder-decoder.
//
// A value: a handle on what was loaded, cheap to copy and held by whatever uses it; copies share the weights. Immutable
// and safe to share between threads; what changes between calls (caches, experts) is handed in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quiver/model/network.h"

namespace quiver::model {

class Model {
 public:
  Model(std::shared_ptr<const Network> network, std::vector<Site> sites, std::vector<Norm> norms,
        std::string fingerprint);

  const ModelConfig& config() const { return body_->network->config(); }
  /// All sites, layer by layer and, within one, in the order in which they are computed (q, k, v, o, gate, up, down).
  const std::vector<Site>& sites() const { return body_->sites; }
  /// All norms, in the order in which they are computed.
  const std::vector<Norm>& norms() const { return body_->norms; }
  std::optional<std::int64_t> site_number(const std::string& name) const;
  /// The last components of the names of a role's sites, each once: {"down_proj"}.
  std::vector<std::string> site_endings(Role role) const;
  /// 64 hexadecimal digits over names, shapes, dtypes and bytes of the stored tensors.
  const std::string& fingerprint() const { return body_->fingerprint; }
  std::int64_t parameters() const { return body_->network->parameters(); }
  at::ScalarType dtype() const { return embedding().scalar_type(); }
  at::Device device() const { return embedding().device(); }

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
  const at::Tensor& head() const { return body_->network->head(); }
  const at::Tensor& embedding() const { return body_->network->embedding(); }

 private:
  struct Body {
    std::shared_ptr<const Network> network;
    std::vector<Site> sites;
    std::vector<Norm> norms;
    std::string fingerprint;
  };
  std::shared_ptr<const Body> body_;
};

}  // namespace quiver::model
