// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/transformer_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

namespace quiver::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Saves x and 1/rms; the weight is frozen.
struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    const auto wide = x.to(at::kFloat);
    const auto inverse = wide.pow(2).mean(-1, true).add_(epsilon).rsqrt_();
    context->save_for_backward({x, inverse, weight});
    return (wide * inverse).mul_(weight).to(x.scalar_type());
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    // y = n w with n = x r: dx = r (g w - n mean(g w n)).
    const auto saved = context->get_saved_variables();
    const auto normed = saved[0].to(at::kFloat) * saved[1];
    auto g = gradients[0].to(at::kFloat) * saved[2];
    const auto mean = (g * normed).mean(-1, true);
    g.sub_(normed.mul(mean)).mul_(saved[1]);
    return {g.to(saved[0].scalar_type()), {}, {}};
  }
};

struct Swiglu : torch::autograd::Function<Swiglu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    context->save_for_backward({gate_up});
    const auto half = gate_up.size(1) / 2;
    return at::silu(gate_up.narrow(1, 0, half)).mul_(gate_up.narrow(1, half, half));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto gate_up = context->get_saved_variables()[0];
    const auto half = gate_up.size(1) / 2;
    const auto gate = gate_up.narrow(1, 0, half), up = gate_up.narrow(1, half, half);
    auto out = at::empty_like(gate_up);
    out.narrow(1, 0, half).copy_(at::silu_backward(gradients[0] * up, gate));
    out.narrow(1, half, half).copy_(at::silu(gate).mul_(gradients[0]));
    return {out};
  }
};

at::Tensor rotated(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool backward) {
  const auto half = x.size(-1) / 2;
  const auto a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  const auto c = cosine.unsqueeze(1).to(x.scalar_type()), s = sine.unsqueeze(1).to(x.scalar_type());
  auto out = at::empty(x.sizes(), x.options());
  auto first = out.narrow(-1, 0, half), second = out.narrow(-1, half, half);
  const double sign = backward ? -1.0 : 1.0;
  first.copy_(a * c).addcmul_(b, s, -sign);
  second.copy_(b * c).addcmul_(a, s, sign);
  return out;
}

struct RotateHalf : torch::autograd::Function<RotateHalf> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cosine,
                            const at::Tensor& sine) {
    context->save_for_backward({cosine, sine});
    return rotated(x, cosine, sine, false);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {rotated(gradients[0], saved[0], saved[1], true), {}, {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return RmsNorm::apply(x, weight, epsilon);
}

at::Tensor rotate_half(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  return RotateHalf::apply(x, cosine, sine);
}

at::Tensor swiglu(const at::Tensor& gate_up) { return Swiglu::apply(gate_up); }

at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

}  // namespace quiver::ops
