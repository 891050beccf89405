// SPDX-License-Identifier: Apache-2.0
// Weights in one flat vector, as optimisers take them, and tensors that are views of it.
//
// `for_each` calls its argument with each tensor in an order of its own: adapter::for_each_tensor, bound.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <vector>

#include "quiver/adapter/adapter.h"

namespace quiver::training {

/// A copy of all tensors, float32 [P], without a gradient.
template <typename ForEach>
at::Tensor flattened(ForEach for_each) {
  std::vector<at::Tensor> parts;
  for_each([&](const at::Tensor& t) { parts.push_back(t.detach().to(at::kFloat).reshape({-1})); });
  return at::cat(parts, 0);
}

/// Where weight decay applies in flattened(for_each), bool [P]: in matrices, not in vectors (norms, biases, scales).
template <typename ForEach>
at::Tensor flat_decays(ForEach for_each) {
  std::vector<at::Tensor> parts;
  for_each([&](const at::Tensor& t) { parts.push_back(at::full({t.numel()}, t.dim() >= 2, at::kBool)); });
  return at::cat(parts, 0);
}

/// Makes each tensor the view of `flat` that it has in flattened(for_each), its shape kept. Differentiable in `flat`.
template <typename ForEach>
void point_into(const at::Tensor& flat, ForEach for_each) {
  std::int64_t begin = 0;
  for_each([&](at::Tensor& t) {
    const auto sizes = t.sizes().vec();
    const auto count = t.numel();
    t = flat.narrow(0, begin, count).view(sizes);
    begin += count;
  });
}

inline at::Tensor flattened(const adapter::Adapter& adapter) {
  return flattened([&](auto visit) { adapter::for_each_tensor(adapter, visit); });
}

inline at::Tensor flat_decays(const adapter::Adapter& adapter) {
  return flat_decays([&](auto visit) { adapter::for_each_tensor(adapter, visit); });
}

/// The adapter's shape over views of `flat`.
inline adapter::Adapter viewed(adapter::Adapter shape, const at::Tensor& flat) {
  point_into(flat, [&](auto visit) { adapter::for_each_tensor(shape, visit); });
  return shape;
}

}  // namespace quiver::training
