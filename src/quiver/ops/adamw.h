// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, 2019) over one tensor of parameters; without weight decay it is Adam (Kingma and Ba,
// 2015).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace quiver::ops {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.0;  ///< times the rate, taken from the parameters before the step
};

struct AdamW {
  at::Tensor mean;      ///< first moment, shape and dtype of the parameters
  at::Tensor variance;  ///< second moment

  explicit AdamW(const at::Tensor& parameters);
  /// Step number `step` (from 0), in place. decays: bool, of the parameters' shape, where weight decay applies;
  /// undefined: everywhere.
  void step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate, std::int64_t step,
            const AdamWOptions& options = {}, const at::Tensor& decays = {});
};

/// Scales `gradient` in place to a norm of at most `largest` (0: leaves it), as torch.nn.utils.clip_grad_norm_ does;
/// returns its norm before that.
double clip_norm(at::Tensor& gradient, double largest);

}  // namespace quiver::ops
