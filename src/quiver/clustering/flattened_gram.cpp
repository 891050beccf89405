// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/flattened_gram.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

constexpr std::int64_t kColumns = 4096;

at::Tensor plain(const at::Tensor& factor) { return factor.detach().to(at::kFloat).contiguous(); }

void check_shapes(const adapter::Adapter& first, const adapter::Adapter& other) {
  const bool same = std::equal(first.sites.begin(), first.sites.end(), other.sites.begin(), other.sites.end(),
                               [](const auto& x, const auto& y) {
                                 return x.first == y.first && x.second.a.sizes() == y.second.a.sizes() &&
                                        x.second.b.sizes() == y.second.b.sizes();
                               });
  QUIVER_CHECK(same, mismatch, "flattened factors",
               "experts of {} and {} weights differ in sites, ranks or shapes; the products of the factors can be "
               "compared all the same (--embedding products)",
               first.parameters(), other.parameters());
}

void copy_sparse(const float* in, std::int64_t count, float threshold, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = std::abs(in[i]) > threshold ? in[i] : 0.0F;
}

/// Adds what one factor of each expert gives.
void add_factor(const std::vector<at::Tensor>& factors, const std::vector<float>& thresholds, at::Tensor& gram) {
  const auto n = static_cast<std::int64_t>(factors.size()), all = factors[0].numel();
  for (std::int64_t begin = 0; begin < all; begin += kColumns) {
    const auto count = std::min(kColumns, all - begin);
    const auto stacked = at::empty({n, count}, at::kFloat);
    auto* out = stacked.mutable_data_ptr<float>();
    at::parallel_for(0, n, 1, [&](std::int64_t first, std::int64_t last) {
      for (auto i = first; i < last; ++i) {
        const auto at = static_cast<std::size_t>(i);
        copy_sparse(factors[at].const_data_ptr<float>() + begin, count, thresholds[at], out + i * count);
      }
    });
    gram += at::mm(stacked, stacked.t());
  }
}

}  // namespace

float magnitude_quantile(const adapter::Adapter& expert, double q) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(expert.parameters()));
  for (const auto& [site, factors] : expert.sites) {
    for (const auto& factor : {factors.a, factors.b}) {
      const auto kept = plain(factor);
      const auto* data = kept.const_data_ptr<float>();
      std::transform(data, data + kept.numel(), std::back_inserter(values), [](float v) { return std::abs(v); });
    }
  }
  const float rank = static_cast<float>(q) * static_cast<float>(values.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(rank), values.size() - 1);
  const float weight = rank - std::floor(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  if (weight == 0.0F || at + 1 == values.end()) return *at;
  const float low = *at, high = *std::min_element(at + 1, values.end());
  // torch.lerp: from the nearer end, so that it is exact at both, and rounded once.
  return weight < 0.5F ? std::fma(weight, high - low, low) : std::fma(weight - 1.0F, high - low, high);
}

at::Tensor flattened_gram(const std::vector<const adapter::Adapter*>& experts, double sparsity, Progress* progress) {
  const auto n = static_cast<std::int64_t>(experts.size());
  auto gram = at::zeros({n, n}, at::kDouble);
  if (n == 0) return gram;
  for (const auto* expert : experts) check_shapes(*experts[0], *expert);
  std::vector<float> thresholds(experts.size(), -1.0F);
  at::parallel_for(0, sparsity > 0.0 ? n : 0, 1, [&](std::int64_t first, std::int64_t last) {
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
      thresholds[i] = magnitude_quantile(*experts[i], sparsity);
    }
  });
  std::uint64_t done = 0;
  for (const auto& [site, factors] : experts[0]->sites) {
    if (progress) progress->update("compare experts", done++, experts[0]->sites.size(), "");
    std::vector<at::Tensor> a, b;
    for (const auto* expert : experts) {
      a.push_back(plain(expert->sites.at(site).a));
      b.push_back(plain(expert->sites.at(site).b));
    }
    add_factor(a, thresholds, gram);
    add_factor(b, thresholds, gram);
  }
  if (progress) progress->finish();
  return gram;
}

}  // namespace quiver::clustering
