// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/wudi.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/merging/low_rank.h"
#include "quiver/ops/adamw.h"

namespace quiver::merging {
namespace {

constexpr double kLeastChange = 1e-4;
constexpr int kPatience = 5;

/// The objective is <X, G X> - 2 <X, C> + constant, with G = S S^T, S = [X_i / |X_i|] side by side and
/// C = sum_i X_i X_i^T X_i / |X_i|^2.
struct Objective {
  at::Tensor s, g, c;  // g: only where it is smaller than s
  double constant = 0.0;

  explicit Objective(const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> unit;
    for (const auto& x : tensors) {
      unit.push_back(x / x.norm().clamp_min(1e-300));
      const auto& u = unit.back();
      const bool wide = x.size(0) < x.size(1);  // the smaller of U U^T and U^T X
      const auto inner = wide ? at::mm(u, u.t()) : at::mm(u.t(), x);
      const auto part = wide ? at::mm(inner, x) : at::mm(u, inner);
      c = c.defined() ? c + part : part;
      constant += (x * part).sum().item<double>();
    }
    s = at::cat(unit, 1);
    if (s.size(0) > s.size(1))
      s = s.index_select(1, s.ne(0).any(0).nonzero().flatten());  // without the columns that padding added
    if (s.size(0) <= 2 * s.size(1)) g = at::mm(s, s.t());
  }
  at::Tensor g_times(const at::Tensor& x) const { return g.defined() ? at::mm(g, x) : at::mm(s, at::mm(s.t(), x)); }
};

}  // namespace

at::Tensor wudi_tensor(const std::vector<at::Tensor>& tensors, double learning_rate, std::int64_t iterations) {
  const Objective objective(tensors);
  auto x = tensors[0].clone();
  for (std::size_t i = 1; i < tensors.size(); ++i) x += tensors[i];
  ops::AdamW adam(x);
  double previous = std::numeric_limits<double>::infinity();
  int still = 0;
  for (std::int64_t step = 0; step < iterations; ++step) {
    const auto gx = objective.g_times(x);
    const double value = (x * (gx - 2.0 * objective.c)).sum().item<double>() + objective.constant;
    const auto gradient = 2.0 * (gx - objective.c);
    adam.step(x, gradient, learning_rate, step);
    still = std::abs(previous - value) < kLeastChange ? still + 1 : 0;
    if (still >= kPatience) break;
    previous = value;
  }
  return x / static_cast<double>(tensors.size());
}

adapter::Adapter merge_wudi(const MergeInput& input, const MergeOptions& o) {
  const bool products = o.combine.value_or(MergeOptions::Combine::factors) == MergeOptions::Combine::products;
  const auto experts = input.experts.size();
  const auto optimum = [&o, experts](std::vector<at::Tensor> tensors) {
    const auto missing = experts - tensors.size();
    for (std::size_t i = 0; i < missing; ++i) tensors.push_back(at::zeros_like(tensors[0]));
    return wudi_tensor(tensors, o.learning_rate, o.iterations);
  };
  return merge_sites(input, o.rank, [&](const std::string&, const Terms& terms) {
    std::vector<at::Tensor> a, b;
    const auto rank = largest_rank(terms);
    // Factors are compared at one scale, that of the first expert that has any.
    const auto scaled = std::find_if(terms.begin(), terms.end(), [](const auto& term) { return term.scale != 0; });
    const double unit = scaled == terms.end() ? 1.0 : scaled->scale;
    for (const auto& term : terms) {
      if (products) {
        a.push_back(at::mm(term.b, term.a) * term.scale);
        continue;
      }
      auto relative = term;
      relative.scale = term.scale / unit;
      const auto f = padded(folded(relative), rank);
      a.push_back(f.a);
      b.push_back(f.b);
    }
    if (products) return truncate_dense(optimum(a), o.rank > 0 ? o.rank : rank);
    return ops::LoraFactors{optimum(a), optimum(b), unit};
  });
}

}  // namespace quiver::merging
