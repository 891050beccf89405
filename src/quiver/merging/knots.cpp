// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/knots.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "quiver/merging/consensus.h"
#include "quiver/merging/low_rank.h"
#include "quiver/merging/sparsify.h"

namespace quiver::merging {
namespace {

constexpr double kNegligible = 1e-7;  // of the largest singular value: rounding of float32 factors

struct Aligned {
  at::Tensor u;                  ///< [out, K], orthonormal columns
  std::vector<at::Tensor> rows;  ///< S V_i^T [K, in], one per term
  std::vector<std::size_t> expert;
  std::vector<double> weights;
};

Aligned align(const Terms& terms) {
  std::vector<at::Tensor> b;
  for (const auto& term : terms) b.push_back(term.b);
  const auto [q, r] = at::linalg_qr(at::cat(b, 1));
  std::vector<at::Tensor> small, rows;
  std::int64_t column = 0;
  for (const auto& term : terms) {
    // q rows.back() = D_i, and A_i = R^T Q^T with orthonormal Q^T leaves the singular values to R.
    const auto own = r.narrow(1, column, term.a.size(0)) * term.scale;
    small.push_back(at::mm(own, std::get<1>(at::linalg_qr(term.a.t(), "r")).t()));
    rows.push_back(at::mm(own, term.a));
    column += term.a.size(0);
  }
  const auto [u, s, vh] = at::linalg_svd(at::cat(small, 1), false);
  const auto kept = std::max<std::int64_t>(1, s.gt(s[0] * kNegligible).sum().item<std::int64_t>());
  const auto turn = u.narrow(1, 0, kept);
  Aligned out{at::mm(q, turn), {}, {}, {}};
  for (std::size_t i = 0; i < terms.size(); ++i) {
    out.rows.push_back(at::mm(turn.t(), rows[i]));
    out.expert.push_back(terms[i].expert);
    out.weights.push_back(terms[i].weight);
  }
  return out;
}

ops::LoraFactors elect(const Aligned& aligned, const MergeOptions& o) {
  const auto rows = at::stack(aligned.rows, 0);
  const auto merged = consensus(rows, at::tensor(aligned.weights, rows.options()), MergeOptions::Convention::peft,
                                o.sign, Divisor::count);
  return truncate({merged, aligned.u, o.lambda}, o.rank);
}

/// Sets the entries below each expert's threshold to 0.
void thin_out(std::vector<Aligned>& sites, std::size_t experts, double density) {
  std::vector<std::vector<at::Tensor>> of_expert(experts);
  for (const auto& site : sites) {
    for (std::size_t i = 0; i < site.rows.size(); ++i) of_expert[site.expert[i]].push_back(site.rows[i]);
  }
  for (auto& rows : of_expert) {
    if (rows.empty()) continue;
    const double threshold = knots_threshold(rows, density);
    for (auto& row : rows) row.masked_fill_(row.abs().lt(threshold), 0.0);
  }
}

}  // namespace

adapter::Adapter merge_knots(const MergeInput& input, const MergeOptions& o) {
  if (*o.density >= 1)
    return merge_sites(input, 0, [&o](const std::string&, const Terms& terms) { return elect(align(terms), o); });
  std::vector<Aligned> sites(site_names(input).size());
  for_each_site(input, [&](std::size_t i, const std::string&, const Terms& terms) { sites[i] = align(terms); });
  thin_out(sites, input.experts.size(), *o.density);
  std::vector<ops::LoraFactors> merged(sites.size());
  for_each_site(input, [&](std::size_t i, const std::string&, const Terms&) { merged[i] = elect(sites[i], o); });
  return adapter_of(site_names(input), merged);
}

}  // namespace quiver::merging
