// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/sparsify.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/random.h"

namespace quiver::merging {
namespace {

std::int64_t share(double part, std::int64_t count) {
  return static_cast<std::int64_t>(part * static_cast<double>(count));
}

at::Tensor mask_of(const at::Tensor& t, const at::Tensor& positions) {
  auto mask = at::zeros_like(t, at::MemoryFormat::Contiguous);
  mask.view({-1}).index_fill_(0, positions, 1.0);
  return mask;
}

std::vector<double> magnitudes(const std::vector<at::Tensor>& tensors) {
  std::vector<double> out;
  for (const auto& t : tensors) {
    const auto flat = t.abs().to(at::kDouble).contiguous();
    out.insert(out.end(), flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
  }
  return out;
}

}  // namespace

at::Tensor magnitude_mask(const at::Tensor& t, double density) {
  const auto kept = share(density, t.numel());
  return mask_of(t, std::get<1>(at::topk(t.abs().reshape({-1}), kept, 0, true, false)));
}

at::Tensor breadcrumbs_mask(const at::Tensor& t, double density, double gamma) {
  const auto kept = share(density, t.numel());
  const auto dropped_small = std::max<std::int64_t>(0, t.numel() - kept - share(gamma, t.numel()));
  return mask_of(t, at::argsort(t.abs().reshape({-1})).narrow(0, dropped_small, kept));
}

double magnitude_quantile(const std::vector<at::Tensor>& tensors, double density) {
  auto sorted = magnitudes(tensors);
  const double position = (1.0 - density) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(std::floor(position));
  std::nth_element(sorted.begin(), sorted.begin() + below, sorted.end());
  const double low = sorted[static_cast<std::size_t>(below)];
  if (static_cast<double>(below) == position) return low;
  const double high = *std::min_element(sorted.begin() + below + 1, sorted.end());
  return low + (position - static_cast<double>(below)) * (high - low);
}

double knots_threshold(const std::vector<at::Tensor>& tensors, double density) {
  auto sorted = magnitudes(tensors);
  const auto count = static_cast<std::int64_t>(sorted.size());
  const auto at = std::max<std::int64_t>(0, count - share(density, count) - 1);
  std::nth_element(sorted.begin(), sorted.begin() + at, sorted.end());
  return sorted[static_cast<std::size_t>(at)];
}

at::Tensor della_chances(const at::Tensor& t, double density, double epsilon) {
  const auto place = at::argsort(at::argsort(t.abs(), std::int64_t{1}), std::int64_t{1}).to(at::kDouble);
  if (t.size(1) == 1) return at::zeros_like(place) + density;
  return place * (2.0 * epsilon / static_cast<double>(t.size(1) - 1)) + (density - epsilon);
}

at::Tensor random_mask(const at::Tensor& chances, std::uint64_t seed) {
  const auto plain = chances.contiguous();
  auto mask = at::empty_like(plain);
  const double* chance = plain.const_data_ptr<double>();
  double* kept = mask.mutable_data_ptr<double>();
  Random random(seed);
  for (std::int64_t i = 0; i < plain.numel(); ++i) kept[i] = random.uniform() < chance[i] ? 1.0 : 0.0;
  return mask;
}

at::Tensor masked(const at::Tensor& t, const at::Tensor& mask, const at::Tensor& chances,
                  MergeOptions::Rescale rescale) {
  const auto kept = t * mask;
  if (rescale == MergeOptions::Rescale::none) return kept;
  if (rescale == MergeOptions::Rescale::probability) return kept / chances;
  const double before = t.abs().sum().item<double>(), after = kept.abs().sum().item<double>();
  return after > 0 ? kept * (before / after) : kept;
}

}  // namespace quiver::merging
