// SPDX-License-Identifier: Apache-2.0
// The operations of a transformer block beside its linear maps, on packed rows [T, width].
//
// All are differentiable. Norms, rotary angles and softmax are computed in float32 and returned in x's dtype.
#pragma once

#include <ATen/core/Tensor.h>

namespace quiver::ops {

/// y = x / sqrt(mean(x^2) + epsilon) * weight (Zhang and Sennrich, 2019). x: [T, D], weight: [D], or [T, D] for weights
/// that differ. Differentiable in both.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

struct QueryKeyValue {
  at::Tensor q;  ///< [T, H, D]
  at::Tensor k;  ///< [T, K, D]
  at::Tensor v;  ///< [T, K, D]
};

/// Parts qkv [T, H + 2 K, D] and rotates the halves of each head of q and k by the angle of their position:
/// (a, b) -> (a cos - b sin, b cos + a sin) (rotary positions, Su et al. 2021). cosine, sine: [T, D/2] float32.
QueryKeyValue part_rotated(const at::Tensor& qkv, std::int64_t heads, const at::Tensor& cosine, const at::Tensor& sine);

/// silu(gate) * up for gate_up = [gate | up]: [T, 2F] -> [T, F] (SwiGLU, Shazeer 2020).
at::Tensor swiglu(const at::Tensor& gate_up);

/// x W^T for a W that is usually frozen: one that requires a gradient gets it. x: [T, in], weight: [out, in], bias:
/// [out] or undefined.
at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// x W^T in float32 for few rows x: W is read once, where a GEMM would pack it. No gradient; where kernels_serve both.
at::Tensor dot_rows(const at::Tensor& x, const at::Tensor& w);

}  // namespace quiver::ops
