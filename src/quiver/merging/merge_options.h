// SPDX-License-Identifier: Apache-2.0
// The options of merging, described once. A method's table entry says which of them it reads, and of choices which
// words.
#pragma once

#include "quiver/base/options.h"
#include "quiver/merging/merge.h"

namespace quiver::merging {

/// MergeOptions whose fields all have a value; what was not given of those that are optional is left to the method.
struct DescribedOptions {
  explicit DescribedOptions(const MergeOptions& options);
  /// With `set` the one that describe filled.
  MergeOptions options(const OptionSet& set) const;

  MergeOptions base;
  MergeOptions::Combine combine = MergeOptions::Combine::factors;
  MergeOptions::Rescale rescale = MergeOptions::Rescale::probability;
  double density = 1.0, t = 0.5;
};
void describe(DescribedOptions& options, OptionSet& set);

/// Throws Error{usage} at `where` naming a number that is out of its range.
void check_ranges(const MergeOptions& options, const std::string& where);

}  // namespace quiver::merging
