// SPDX-License-Identifier: Apache-2.0
// The experts site by site: what methods see, and how their results become an adapter.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// One expert at a site, in float64.
struct Term {
  std::size_t expert;  ///< its number in the input
  double weight;
  at::Tensor a;  ///< [R, in]
  at::Tensor b;  ///< [out, R]
  double scale;
};
/// The experts that have the site, in the order of the input; at least one.
using Terms = std::vector<Term>;

/// All sites of all experts, sorted.
std::vector<std::string> site_names(const MergeInput& input);
/// Throws Error{mismatch} where widths differ.
Terms terms_of(const MergeInput& input, const std::string& site);

/// Calls `each(number of the site, its name, its terms)` for all sites, in parallel, without gradients, and tells the
/// input's progress of each that is done.
void for_each_site(const MergeInput& input,
                   const std::function<void(std::size_t, const std::string&, const Terms&)>& each);

/// An adapter of what `merge` returns for each site (a: undefined leaves the site out), truncated to `rank` where that
/// is above 0 (low_rank.h). Its scale is folded into B.
using MergeSite = std::function<ops::LoraFactors(const std::string& site, const Terms& terms)>;
adapter::Adapter merge_sites(const MergeInput& input, std::int64_t rank, const MergeSite& merge);
/// Throws Error{usage} where no site is left, Error{format} where a number is not finite.
adapter::Adapter adapter_of(const std::vector<std::string>& names, const std::vector<ops::LoraFactors>& factors);

/// A sqrt|s| (with the sign of s) and B sqrt|s|: the same difference at scale 1, split evenly.
ops::LoraFactors folded(const Term& term);
/// Padded with zeros to `rank`.
ops::LoraFactors padded(const ops::LoraFactors& factors, std::int64_t rank);
std::int64_t largest_rank(const Terms& terms);
/// sqrt|x| with the sign of x.
double signed_root(double x);

}  // namespace quiver::merging
