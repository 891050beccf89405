// SPDX-License-Identifier: Apache-2.0
// The layers between token ids and final states: what differs from one kind of model to another.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/model/config.h"
#include "quiver/model/experts.h"
#include "quiver/model/packed_batch.h"

namespace quiver::model {

/// What a pass keeps for its backward pass.
enum class Activations { keep, recompute };

/// Immutable and safe to share between threads.
class Network {
 public:
  virtual ~Network() = default;
  virtual const ModelConfig& config() const = 0;
  /// Final states [T, D] of a batch whose ids and lengths are known to be right.
  virtual at::Tensor forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const = 0;
  virtual const at::Tensor& embedding() const = 0;  ///< [V, D]
  virtual const at::Tensor& head() const = 0;       ///< [V, D]; the embedding itself where tied
  virtual std::int64_t parameters() const = 0;
};

}  // namespace quiver::model
