// SPDX-License-Identifier: Apache-2.0
// The methods that choose entries: each expert's tensors are thinned out, then summed or put through an election.
//   ties, ties-svd                       largest magnitudes, election      TIES, arXiv 2306.01708
//   magnitude-prune, -svd                largest magnitudes, sum
//   dare-linear, -svd; dare-ties, -svd   random, sum; random, election     DARE, arXiv 2311.03099
//   breadcrumbs                          middle magnitudes, sum            Model Breadcrumbs, arXiv 2312.06795
//   della                                random by magnitude, election     DELLA, arXiv 2406.11617
// Names in -svd (and combine=products) work on dense differences and truncate the result, as PEFT's methods of these
// names do; that takes an eigendecomposition of each site's smaller width, minutes for a whole model.
#pragma once

#include <functional>
#include <string>

#include "quiver/merging/consensus.h"
#include "quiver/merging/sites.h"

namespace quiver::merging {

/// Which tensor is being thinned out.
struct TensorKey {
  enum class Part { a, b, product };
  std::size_t expert;
  std::string site;
  Part part;
};
/// A tensor, before its expert's weight, with the entries that go set to 0 and the rest rescaled.
using Sparsify = std::function<at::Tensor(const at::Tensor& tensor, const TensorKey& key)>;

struct EntryRule {
  Sparsify sparsify;
  bool elects = false;
  Divisor divisor = Divisor::count;  ///< where it elects
  MergeOptions::Combine combine = MergeOptions::Combine::factors;
};

adapter::Adapter merge_entries(const MergeInput& input, const MergeOptions& options, const EntryRule& rule);

adapter::Adapter merge_ties(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_ties_svd(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_magnitude_prune(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_magnitude_prune_svd(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_dare_linear(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_dare_linear_svd(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_dare_ties(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_dare_ties_svd(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_breadcrumbs(const MergeInput& input, const MergeOptions& options);
adapter::Adapter merge_della(const MergeInput& input, const MergeOptions& options);

/// Two experts by an election whose mean weighs them 1 - t and t: a step of repair. `dare`: random entries, else
/// largest.
adapter::Adapter ties_step(const MergeInput& input, const MergeOptions& options, bool dare);

}  // namespace quiver::merging
