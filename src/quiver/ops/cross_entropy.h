// SPDX-License-Identifier: Apache-2.0
// The language-model head and its loss at chosen positions, in chunks, without keeping logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace quiver::ops {

/// sum_i weights_i * -log softmax(hidden_i W^T)[labels_i], a float32 scalar, differentiable in `hidden` and W.
/// hidden: [N, D], head: [V, D], labels: int64 [N], weights: float32 [N]. Logits are float32, at most `chunk` rows at
/// once; the gradient is formed in the forward pass, so nothing of size V is kept.
at::Tensor head_cross_entropy(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                              const at::Tensor& weights, std::int64_t chunk = 256);

/// log softmax(hidden_i W^T)[labels_i]: float32 [N], no gradient; where `greedy` is not null it becomes bool [N], true
/// where the label is the most likely token.
at::Tensor head_log_likelihood(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                               at::Tensor* greedy = nullptr, std::int64_t chunk = 256);

}  // namespace quiver::ops
