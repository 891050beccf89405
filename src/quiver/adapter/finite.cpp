// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/finite.h"

#include <ATen/ops/sum.h>

#include <cmath>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

/// A sum in float64 is finite where every term is: at most 2^62 terms below 2^128.
bool finite(const at::Tensor& t) {
  return !t.defined() || std::isfinite(at::sum(t.detach(), at::kDouble).item<double>());
}

}  // namespace

std::string not_finite(const Adapter& adapter) {
  for (const auto& [site, f] : adapter.sites) {
    if (!finite(f.a)) return fmt::format("lora_A of site '{}'", site);
    if (!finite(f.b)) return fmt::format("lora_B of site '{}'", site);
    if (!std::isfinite(f.scale)) return fmt::format("the scale of site '{}'", site);
  }
  for (const auto& [place, tensors] : adapter.stored) {
    for (const auto& [key, t] : tensors) {
      if (!finite(t)) return place.empty() ? key : fmt::format("{} of site '{}'", key, place);
    }
  }
  for (const auto& [site, e] : adapter.extras) {
    if (e.bottleneck && !std::isfinite(e.bottleneck->scale))
      return fmt::format("the scale of the bottleneck at '{}'", site);
  }
  std::string out;
  for_each_tensor(adapter, [&](const at::Tensor& t) {
    if (!finite(t)) out = fmt::format("a tensor of {} numbers", t.numel());
  });
  return out;
}

}  // namespace quiver::adapter
