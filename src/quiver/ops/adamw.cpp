// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace quiver::ops {

AdamW::AdamW(const at::Tensor& parameters)
    : mean(at::zeros_like(parameters.detach())), variance(at::zeros_like(parameters.detach())) {}

void AdamW::step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate, std::int64_t step,
                 const AdamWOptions& o, const at::Tensor& decays) {
  const auto t = static_cast<double>(step + 1);
  const double correction1 = 1.0 - std::pow(o.beta1, t), correction2 = 1.0 - std::pow(o.beta2, t);
  const double kept = 1.0 - learning_rate * o.weight_decay;
  if (o.weight_decay > 0 && decays.defined()) {
    parameters.mul_(at::ones_like(parameters).masked_fill_(decays, kept));
  } else if (o.weight_decay > 0) {
    parameters.mul_(kept);
  }
  mean.lerp_(gradient, 1.0 - o.beta1);
  variance.mul_(o.beta2).addcmul_(gradient, gradient, 1.0 - o.beta2);
  const auto denominator = variance.sqrt().div_(std::sqrt(correction2)).add_(o.epsilon);
  parameters.addcdiv_(mean, denominator, -learning_rate / correction1);
}

double clip_norm(at::Tensor& gradient, double largest) {
  const double norm = gradient.norm().item<double>();
  constexpr double kEpsilon = 1e-6;  // torch.nn.utils.clip_grad_norm_
  if (largest > 0 && norm + kEpsilon > largest) gradient.mul_(largest / (norm + kEpsilon));
  return norm;
}

}  // namespace quiver::ops
