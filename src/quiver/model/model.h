// SPDX-License-Identifier: Apache-2.0
// The base model: a frozen decoder-only language model over packed rows.
//
// Immutable after loading and safe to share between threads; what changes between calls (caches, experts) is handed in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quiver/model/config.h"
#include "quiver/model/decoder_layer.h"
#include "quiver/model/experts.h"
#include "quiver/model/packed_batch.h"

namespace quiver::model {

/// What a pass keeps for its backward pass.
enum class Activations { keep, recompute };

class LanguageModel {
 public:
  struct Weights {
    at::Tensor embedding;  ///< [V, D]
    std::vector<DecoderLayer> layers;
    at::Tensor final_norm;  ///< [D]
    at::Tensor head;        ///< [V, D]; the embedding itself where tied
  };
  LanguageModel(DecoderConfig config, Weights weights, std::vector<Site> sites, std::string fingerprint);

  const DecoderConfig& config() const { return config_; }
  /// All sites, in the order of the layers and, within one, q, k, v, o, gate, up, down.
  const std::vector<Site>& sites() const { return sites_; }
  std::optional<std::int64_t> site_number(const std::string& name) const;
  /// 64 hexadecimal digits over names, shapes, dtypes and bytes of the stored tensors.
  const std::string& fingerprint() const { return fingerprint_; }
  std::int64_t parameters() const;
  at::ScalarType dtype() const { return weights_.embedding.scalar_type(); }

  /// Final hidden states, normed: [T, D]. Rows with a cache are continued, and their caches extended where they say so.
  /// Differentiable in what `experts` bring. Throws Error{mismatch} on ids outside the vocabulary or too long a row.
  /// With Activations::recompute the layers' activations are computed again in the backward pass, until which `batch`
  /// and `experts` must then live.
  at::Tensor forward(const PackedBatch& batch, ExpertSource* experts,
                     Activations activations = Activations::keep) const;
  /// hidden [N, D] -> float32 logits [N, V].
  at::Tensor logits(const at::Tensor& hidden) const;
  const at::Tensor& head() const { return weights_.head; }
  const at::Tensor& embedding() const { return weights_.embedding; }

 private:
  void check_batch(const PackedBatch& batch) const;

  DecoderConfig config_;
  Weights weights_;
  std::vector<Site> sites_;
  std::string fingerprint_;
  RotaryTable rotary_;
};

}  // namespace quiver::model
