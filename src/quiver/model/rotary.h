// SPDX-License-Identifier: Apache-2.0
// Rotary positions (Su et al., 2021): the cosine and sine of each position's angles.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/model/config.h"

namespace quiver::model {

class RotaryTable {
 public:
  explicit RotaryTable(const DecoderConfig& config);

  struct Angles {
    at::Tensor cosine;  ///< [T, head_width / 2] float32, times RotaryScaling::scale
    at::Tensor sine;
  };
  /// positions: int64 [T].
  Angles at_positions(const at::Tensor& positions) const;
  /// Radians per position of each frequency, float32 [head_width / 2], scaling applied.
  const at::Tensor& frequencies() const { return frequencies_; }

 private:
  at::Tensor frequencies_;
  double scale_ = 1.0;
};

}  // namespace quiver::model
