// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, 2019) over one flat vector of parameters.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/training/train_options.h"

namespace quiver::training {

struct AdamW {
  at::Tensor mean;      ///< first moment, float32 [P]
  at::Tensor variance;  ///< second moment, float32 [P]

  explicit AdamW(const at::Tensor& parameters);
  /// One step, number `step` (from 0), in place. Clips `gradient` (in place) to options.clip first, as
  /// torch.nn.utils.clip_grad_norm_ does; returns its norm before that.
  double step(at::Tensor& parameters, at::Tensor& gradient, double learning_rate, std::int64_t step,
              const TrainOptions& options);
};

}  // namespace quiver::training
