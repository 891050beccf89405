// SPDX-License-Identifier: Apache-2.0
// Trading time for memory in training: a part of the model whose activations are not kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace quiver::ops {

/// part(x), of which only x is kept for the backward pass, which computes the part again (Chen et al., 2016, arXiv
/// 1604.06174). x: any tensor that requires a gradient. `part` must give the same result each time and stay valid until
/// the backward pass is over; gradients of leaves that it uses, or that lead to what it uses, are added to them.
at::Tensor recomputed(const std::function<at::Tensor(const at::Tensor&)>& part, const at::Tensor& x);

}  // namespace quiver::ops
