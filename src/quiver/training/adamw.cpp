// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adamw.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace quiver::training {

AdamW::AdamW(const at::Tensor& parameters) : mean(at::zeros_like(parameters)), variance(at::zeros_like(parameters)) {}

double AdamW::step(at::Tensor& parameters, at::Tensor& gradient, double learning_rate, std::int64_t step,
                   const TrainOptions& o) {
  const double norm = gradient.norm().item<double>();
  constexpr double kNormEpsilon = 1e-6;  // torch.nn.utils.clip_grad_norm_
  if (o.clip > 0 && norm + kNormEpsilon > o.clip) gradient.mul_(o.clip / (norm + kNormEpsilon));
  const auto t = static_cast<double>(step + 1);
  const double correction1 = 1.0 - std::pow(o.beta1, t), correction2 = 1.0 - std::pow(o.beta2, t);
  if (o.weight_decay > 0) parameters.mul_(1.0 - learning_rate * o.weight_decay);
  mean.lerp_(gradient, 1.0 - o.beta1);
  variance.mul_(o.beta2).addcmul_(gradient, gradient, 1.0 - o.beta2);
  const auto denominator = variance.sqrt().div_(std::sqrt(correction2)).add_(o.epsilon);
  parameters.addcdiv_(mean, denominator, -learning_rate / correction1);
  return norm;
}

}  // namespace quiver::training
