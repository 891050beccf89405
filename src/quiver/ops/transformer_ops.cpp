// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/transformer_ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "quiver/kernels/table.h"
#include "quiver/ops/kernel_dispatch.h"

namespace quiver::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kRowsAThread = 16;

/// (x / rms(x) * weight, 1 / rms(x) [T, 1])
std::pair<at::Tensor, at::Tensor> normed(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (!kernels_serve(x) || !x.is_contiguous() || weight.scalar_type() != x.scalar_type()) {
    const auto wide = x.to(at::kFloat);
    const auto inverse = wide.pow(2).mean(-1, true).add_(epsilon).rsqrt_();
    return {(wide * inverse).mul_(weight).to(x.scalar_type()), inverse};
  }
  auto out = at::empty_like(x);
  auto inverse = at::empty({x.size(0), 1}, at::kFloat);
  with_element(x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const kernels::NormRows<T> norm{
        entries<T>(x), entries<T>(weight),         writable_entries<T>(out), inverse.data_ptr<float>(),
        x.size(1),     static_cast<float>(epsilon)};
    at::parallel_for(0, x.size(0), kRowsAThread, [&](auto begin, auto end) { kernels::norm_rows(norm, begin, end); });
  });
  return {out, inverse};
}

/// Saves x and 1/rms; the weight is frozen.
struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    const auto [out, inverse] = normed(x, weight, epsilon);
    context->save_for_backward({x, inverse, weight});
    return out;
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
  if (kernels_serve(x)) {
    auto out = at::empty(x.sizes(), x.options());
    with_element(x.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const kernels::RotateHalf<T> rotation{entries<T>(x),
                                            x.stride(0),
                                            x.stride(1),
                                            writable_entries<T>(out),
                                            x.size(1),
                                            half,
                                            entries<float>(cosine),
                                            entries<float>(sine),
                                            backward ? -1.0f : 1.0f};
      at::parallel_for(0, x.size(0), kRowsAThread,
                       [&](auto begin, auto end) { kernels::rotate_half(rotation, begin, end); });
    });
    return out;
  }
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

bool differentiates(const at::Tensor& x) { return c10::GradMode::is_enabled() && x.requires_grad(); }

/// Up to here streaming the weight once beats the GEMM, which packs it first (docs/performance.md).
constexpr std::int64_t kFewRows = 8;
constexpr std::int64_t kOutputsAThread = 64;

}  // namespace

at::Tensor dot_rows(const at::Tensor& x, const at::Tensor& w) {
  auto y = at::empty({x.size(0), w.size(0)}, at::kFloat);
  with_element(x.scalar_type(), [&](auto x_element) {
    with_element(w.scalar_type(), [&](auto w_element) {
      using X = decltype(x_element);
      using W = decltype(w_element);
      const kernels::DotRows<X, W> product{entries<X>(x), x.stride(0), {nullptr, 0, x.size(0)}, entries<W>(w),
                                           w.stride(0),   x.size(1),   y.data_ptr<float>(),     y.stride(0)};
      at::parallel_for(0, w.size(0), kOutputsAThread,
                       [&](auto begin, auto end) { kernels::dot_rows(product, begin, end); });
    });
  });
  return y;
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (!differentiates(x)) return normed(x, weight, epsilon).first;
  return RmsNorm::apply(x, weight, epsilon);
}

at::Tensor rotate_half(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  if (!differentiates(x)) return rotated(x, cosine, sine, false);
  return RotateHalf::apply(x, cosine, sine);
}

at::Tensor swiglu(const at::Tensor& gate_up) { return Swiglu::apply(gate_up); }

at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (x.size(0) <= kFewRows && !differentiates(x) && kernels_serve(x) && kernels_serve(weight)) {
    const auto y = dot_rows(x, weight).to(x.scalar_type());
    return bias.defined() ? y.add(bias) : y;
  }
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

}  // namespace quiver::ops
