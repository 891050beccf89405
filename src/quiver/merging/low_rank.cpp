// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/low_rank.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>

#include <algorithm>

namespace quiver::merging {

ops::LoraFactors stack(const Terms& terms, const std::vector<double>& coefficients) {
  std::vector<at::Tensor> a, b;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    a.push_back(terms[i].a * (coefficients[i] * terms[i].scale));
    b.push_back(terms[i].b);
  }
  return {at::cat(a, 0), at::cat(b, 1), 1.0};
}

ops::LoraFactors stack(const Terms& terms, double factor) {
  std::vector<double> coefficients;
  for (const auto& term : terms) coefficients.push_back(term.weight * factor);
  return stack(terms, coefficients);
}

ops::LoraFactors truncate(const ops::LoraFactors& f, std::int64_t rank) {
  if (rank == 0 || rank >= f.a.size(0)) return f;
  // B A = Q_b (R_b R_a^T) Q_a^T, and the matrix in the middle has the singular values of B A.
  const auto [q_a, r_a] = at::linalg_qr(f.a.t());
  const auto [q_b, r_b] = at::linalg_qr(f.b * f.scale);
  const auto [u, s, vh] = at::linalg_svd(at::mm(r_b, r_a.t()), false);
  const auto kept = std::min(rank, s.size(0));
  return {at::mm(vh.narrow(0, 0, kept), q_a.t()), at::mm(q_b, u.narrow(1, 0, kept) * s.narrow(0, 0, kept)), 1.0};
}

ops::LoraFactors truncate_dense(const at::Tensor& difference, std::int64_t rank) {
  const auto d = difference.to(at::kDouble);
  if (d.size(0) > d.size(1)) {
    const auto f = truncate_dense(d.t(), rank);
    const auto length = f.b.norm(2, {0}, true).clamp_min(1e-300);
    return {(f.b / length).t(), f.a.t() * length, 1.0};
  }
  const auto kept = std::min(rank, d.size(0));
  const auto [values, vectors] = at::linalg_eigh(at::mm(d, d.t()));
  const auto u = vectors.narrow(1, d.size(0) - kept, kept).flip(1);
  const auto a = at::mm(u.t(), d);
  const auto length = a.norm(2, {1}, true).clamp_min(1e-300);
  return {a / length, u * length.t(), 1.0};
}

double inner_product(const Term& i, const Term& j) {
  return i.scale * j.scale * (at::mm(i.b.t(), j.b) * at::mm(i.a, j.a.t())).sum().item<double>();
}

}  // namespace quiver::merging
