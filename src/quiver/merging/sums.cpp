// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/sums.h"

#include <ATen/TensorOperators.h>

#include <cmath>

#include "quiver/merging/low_rank.h"

namespace quiver::merging {
namespace {

using Combine = MergeOptions::Combine;

/// sum of factor * w_e D_e, truncated where a rank is asked for.
adapter::Adapter exact_sum(const MergeInput& input, double factor, std::int64_t rank) {
  return merge_sites(input, rank, [=](const std::string&, const Terms& terms) { return stack(terms, factor); });
}

void add_to(ops::LoraFactors& sum, const ops::LoraFactors& f) {
  sum.a = sum.a.defined() ? sum.a + f.a : f.a;
  sum.b = sum.b.defined() ? sum.b + f.b : f.b;
}

adapter::Adapter sum_of_factors(const MergeInput& input, bool peft, std::int64_t rank) {
  return merge_sites(input, rank, [peft](const std::string&, const Terms& terms) {
    ops::LoraFactors sum;
    for (const auto& term : terms) {
      auto f = peft ? folded({term.expert, 1.0, term.a, term.b, term.weight * term.scale}) : folded(term);
      if (!peft) f = {f.a * term.weight, f.b * term.weight, 1.0};
      add_to(sum, padded(f, largest_rank(terms)));
    }
    return sum;
  });
}

}  // namespace

adapter::Adapter merge_linear(const MergeInput& input, const MergeOptions& o) {
  if (o.combine == Combine::products) return exact_sum(input, 1.0, o.rank);
  return sum_of_factors(input, o.convention == MergeOptions::Convention::peft, o.rank);
}

adapter::Adapter merge_uniform(const MergeInput& input, const MergeOptions& o) {
  const MergeInput equal{input.experts,
                         std::vector<double>(input.experts.size(), 1.0 / static_cast<double>(input.experts.size())),
                         input.progress};
  return o.combine == Combine::products ? exact_sum(equal, 1.0, o.rank) : sum_of_factors(equal, false, o.rank);
}

adapter::Adapter merge_cat(const MergeInput& input, const MergeOptions&) { return exact_sum(input, 1.0, 0); }

adapter::Adapter merge_svd(const MergeInput& input, const MergeOptions& o) {
  return merge_sites(input, o.rank, [&o](const std::string&, const Terms& terms) {
    const auto sum = stack(terms);
    return o.rank > 0 ? sum : truncate(sum, largest_rank(terms));
  });
}

adapter::Adapter merge_task_arithmetic(const MergeInput& input, const MergeOptions& o) {
  return exact_sum(input, o.lambda, o.rank);
}

adapter::Adapter merge_subtract(const MergeInput& input, const MergeOptions& o) {
  auto signed_input = input;
  for (std::size_t e = 1; e < signed_input.weights.size(); ++e) signed_input.weights[e] = -signed_input.weights[e];
  return exact_sum(signed_input, 1.0, o.rank);
}

}  // namespace quiver::merging
