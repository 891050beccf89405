// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/transformer_ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
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

/// Heads of x [T, H, D] turned into `out` [T, H, D], whose heads are dense.
void rotate(const at::Tensor& x, const at::Tensor& out, const at::Tensor& cosine, const at::Tensor& sine,
            float sine_sign) {
  with_element(x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const kernels::RotateHalf<T> rotation{entries<T>(x),        x.stride(0), x.stride(1),   writable_entries<T>(out),
                                          out.stride(0),        x.size(1),   x.size(2) / 2, entries<float>(cosine),
                                          entries<float>(sine), sine_sign};
    at::parallel_for(0, x.size(0), kRowsAThread,
                     [&](auto begin, auto end) { kernels::rotate_half(rotation, begin, end); });
  });
}

/// By plain differentiable calls, in float32 whatever x is.
at::Tensor rotated_by_formula(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const auto half = x.size(-1) / 2;
  const auto wide = x.to(at::promote_types(x.scalar_type(), at::kFloat));
  const auto a = wide.narrow(-1, 0, half), b = wide.narrow(-1, half, half);
  const auto c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  return at::cat({a * c - b * s, b * c + a * s}, -1).to(x.scalar_type());
}

variable_list parted(const at::Tensor& qkv, const at::Tensor& cosine, const at::Tensor& sine, std::int64_t heads) {
  const auto tokens = qkv.size(0), width = qkv.size(2), kv_heads = (qkv.size(1) - heads) / 2;
  auto q = at::empty({tokens, heads, width}, qkv.options()), k = at::empty({tokens, kv_heads, width}, qkv.options());
  rotate(qkv.narrow(1, 0, heads), q, cosine, sine, 1.0f);
  rotate(qkv.narrow(1, heads, kv_heads), k, cosine, sine, 1.0f);
  return {q, k, qkv.narrow(1, heads + kv_heads, kv_heads).contiguous()};
}

/// Its gradient is written in one piece; three slices would each make one of the whole size and add them up.
struct PartRotated : torch::autograd::Function<PartRotated> {
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv, const at::Tensor& cosine,
                               const at::Tensor& sine, std::int64_t heads) {
    context->save_for_backward({cosine, sine});
    context->saved_data["heads"] = heads;
    return parted(qkv, cosine, sine, heads);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto heads = context->saved_data["heads"].toInt(), kv_heads = gradients[1].size(1);
    const auto& gq = gradients[0];
    auto out = at::empty({gq.size(0), heads + 2 * kv_heads, gq.size(2)}, gq.options());
    const auto turn_back = [&](const at::Tensor& gradient, std::int64_t first) {
      const auto dense = gradient.stride(-1) == 1 ? gradient : gradient.contiguous();
      rotate(dense, out.narrow(1, first, gradient.size(1)), saved[0], saved[1], -1.0f);
    };
    turn_back(gq, 0);
    turn_back(gradients[1], heads);
    out.narrow(1, heads + kv_heads, kv_heads).copy_(gradients[2]);
    return {out, {}, {}, {}};
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
  if (differentiates(weight) || weight.dim() == 2) {
    const auto wide = x.to(at::kFloat);
    return (wide * at::rsqrt(wide.square().mean(1, true) + epsilon)).to(x.scalar_type()) * weight.to(x.scalar_type());
  }
  if (!differentiates(x)) return normed(x, weight, epsilon).first;
  return RmsNorm::apply(x, weight, epsilon);
}

QueryKeyValue part_rotated(const at::Tensor& qkv, std::int64_t heads, const at::Tensor& cosine,
                           const at::Tensor& sine) {
  const auto kv_heads = (qkv.size(1) - heads) / 2;
  if (!kernels_serve(qkv)) {
    return {rotated_by_formula(qkv.narrow(1, 0, heads), cosine, sine),
            rotated_by_formula(qkv.narrow(1, heads, kv_heads), cosine, sine),
            qkv.narrow(1, heads + kv_heads, kv_heads)};
  }
  const auto parts =
      differentiates(qkv) ? PartRotated::apply(qkv, cosine, sine, heads) : parted(qkv, cosine, sine, heads);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor swiglu(const at::Tensor& gate_up) { return Swiglu::apply(gate_up); }

at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (x.size(0) <= kFewRows && !differentiates(x) && !differentiates(weight) && kernels_serve(x) &&
      kernels_serve(weight)) {
    const auto y = dot_rows(x, weight).to(x.scalar_type());
    return bias.defined() ? y.add(bias) : y;
  }
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

}  // namespace quiver::ops
