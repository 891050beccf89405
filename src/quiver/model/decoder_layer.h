// SPDX-License-Identifier: Apache-2.0
// One pre-norm decoder layer: x += attention(norm(x)); x += mlp(norm(x)).
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/model/config.h"
#include "quiver/model/linear.h"
#include "quiver/model/norm.h"
#include "quiver/model/packed_batch.h"
#include "quiver/model/rotary.h"

namespace quiver::model {

struct DecoderLayer {
  RmsNorm attention_norm, mlp_norm;
  Linear query_key_value;  ///< [(H + 2 K) W, D]
  Linear output;           ///< [D, H W]
  Linear gate_up;          ///< [2 F, D]
  Linear down;             ///< [D, F]
};

/// What a layer needs of the pass it is part of.
struct LayerContext {
  const DecoderConfig& config;
  const PackedBatch& batch;
  const RotaryTable::Angles& angles;
  ExpertSource* experts = nullptr;
  std::size_t layer = 0;
};

/// x: [T, D] -> [T, D].
at::Tensor forward(const DecoderLayer& layer, const at::Tensor& x, const LayerContext& context);

}  // namespace quiver::model
