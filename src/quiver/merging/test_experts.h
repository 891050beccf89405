// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: small experts and their dense differences.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <string>
#include <vector>

#include "quiver/base/random.h"
#include "quiver/merging/merge.h"

namespace quiver::merging {

inline at::Tensor random_tensor(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  Random random(seed);
  auto out = at::zeros({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.mutable_data_ptr<float>()[i] = static_cast<float>(random.normal());
  return out;
}

inline ops::LoraFactors random_factors(std::int64_t in, std::int64_t out, std::int64_t rank, double scale,
                                       std::uint64_t seed) {
  return {random_tensor(rank, in, derive_seed(seed, 0)), random_tensor(out, rank, derive_seed(seed, 1)), scale};
}

/// Expert `e` of a library as uneven as they come: ranks 2 to 4, all scales differ, and expert 1 lacks a site.
inline adapter::Adapter uneven_expert(std::uint64_t e) {
  adapter::Adapter out;
  out.options.rank_stabilised = e == 0;
  out.sites["x.q_proj"] = random_factors(7, 9, 2 + static_cast<std::int64_t>(e), 0.5 + static_cast<double>(e), 10 + e);
  if (e != 1) out.sites["x.up_proj"] = random_factors(8, 5, 2, 1.5, 20 + e);
  return out;
}

/// s B A in float64; zeros [out, in] where the adapter lacks the site.
inline at::Tensor difference(const adapter::Adapter& adapter, const std::string& site, std::int64_t out = 0,
                             std::int64_t in = 0) {
  const auto found = adapter.sites.find(site);
  if (found == adapter.sites.end()) return at::zeros({out, in}, at::kDouble);
  const auto& f = found->second;
  return at::mm(f.b.to(at::kDouble), f.a.to(at::kDouble)) * f.scale;
}

inline double largest_gap(const at::Tensor& x, const at::Tensor& y) {
  return (x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace quiver::merging
