// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/slerp.h"

#include <ATen/TensorOperators.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/merging/low_rank.h"

namespace quiver::merging {
namespace {

constexpr double kParallel = 0.9995;

at::Tensor slerp(const at::Tensor& x, const at::Tensor& y, double t) {
  const auto dot = [](const at::Tensor& u, const at::Tensor& v) { return (u * v).sum().item<double>(); };
  const auto [c, d] = slerp_coefficients(dot(x, x), dot(y, y), dot(x, y), t);
  return x * c + y * d;
}

ops::LoraFactors one_side(const Term& term, double t, bool products) {
  const double share = term.expert == 0 ? 1.0 - t : t;
  if (products) return stack({term}, std::vector<double>{share});
  const auto f = folded(term);
  return {f.a * share, f.b * share, 1.0};
}

}  // namespace

std::pair<double, double> slerp_coefficients(double xx, double yy, double xy, double t) {
  const double length = std::sqrt(xx * yy);
  const double cosine = length > 0 ? xy / length : 1.0;
  if (std::abs(cosine) > kParallel) return {1.0 - t, t};
  const double theta = std::acos(cosine);
  return {std::sin((1.0 - t) * theta) / std::sin(theta), std::sin(t * theta) / std::sin(theta)};
}

adapter::Adapter merge_slerp(const MergeInput& input, const MergeOptions& o) {
  QUIVER_CHECK(input.experts.size() == 2, usage, "merge slerp", "expected two experts, got {}", input.experts.size());
  const double total = input.weights[0] + input.weights[1];
  QUIVER_CHECK(o.t || total != 0, usage, "merge slerp", "the weights add up to 0; give t");
  const double t = o.t ? *o.t : input.weights[1] / total;
  const bool products = o.combine.value_or(MergeOptions::Combine::products) == MergeOptions::Combine::products;
  return merge_sites(input, o.rank, [&](const std::string&, const Terms& terms) {
    if (terms.size() == 1) return one_side(terms[0], t, products);
    if (!products) {
      const auto rank = largest_rank(terms);
      const auto x = padded(folded(terms[0]), rank), y = padded(folded(terms[1]), rank);
      return ops::LoraFactors{slerp(x.a, y.a, t), slerp(x.b, y.b, t), 1.0};
    }
    const auto [c, d] = slerp_coefficients(inner_product(terms[0], terms[0]), inner_product(terms[1], terms[1]),
                                           inner_product(terms[0], terms[1]), t);
    return stack(terms, std::vector<double>{c, d});
  });
}

}  // namespace quiver::merging
