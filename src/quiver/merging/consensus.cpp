// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/consensus.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

namespace quiver::merging {

at::Tensor consensus(const at::Tensor& entries, const at::Tensor& weights, MergeOptions::Convention convention,
                     MergeOptions::Sign sign, Divisor divisor) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(entries.dim()), 1);
  shape[0] = entries.size(0);
  const auto w = weights.view(shape);
  const auto weighted = entries * w;
  const auto voters = convention == MergeOptions::Convention::mergekit ? weighted : entries;
  const auto votes = (sign == MergeOptions::Sign::total ? voters : voters.sign()).sum(0);
  auto elected = votes.sign();
  if (convention != MergeOptions::Convention::mttl) elected = elected.masked_fill(votes.eq(0), 1.0);
  const auto agree = (voters.sign().eq(elected.unsqueeze(0)) & elected.ne(0).unsqueeze(0)).to(entries.scalar_type());
  const auto sum = (weighted * agree).sum(0);
  if (divisor == Divisor::nothing) return sum;
  const auto by = (divisor == Divisor::count ? agree : agree * w).sum(0);
  return sum / by.masked_fill(by.eq(0), 1.0);
}

}  // namespace quiver::merging
