// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/repair.h"

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/merging/entrywise.h"
#include "quiver/merging/sums.h"

namespace quiver::merging {
namespace {

constexpr double kTiesDensity = 0.2, kDareDensity = 0.5;

}  // namespace

adapter::Adapter merge_repair(const MergeInput& input, const MergeOptions& options) {
  const bool linear = options.step == "linear", dare = options.step == "dare-ties";
  QUIVER_CHECK(linear || dare || options.step == "ties", usage, "merge repair", "step={}{}", options.step,
               suggestion(options.step, {"linear", "ties", "dare-ties"}));
  QUIVER_CHECK(!linear || !options.density, usage, "merge repair", "density={}, which step=ties and dare-ties read",
               options.density.value_or(0));
  QUIVER_CHECK(dare || options.seed == 0, usage, "merge repair", "seed={}, which step=dare-ties reads", options.seed);
  auto o = options;
  o.density = options.density.value_or(dare ? kDareDensity : kTiesDensity);
  o.convention = MergeOptions::Convention::mttl;  // a mean of factors
  const double t = options.t.value_or(0.5);
  auto merged = *input.experts[0];
  for (std::size_t e = 1; e < input.experts.size(); ++e) {
    const MergeInput pair{{&merged, input.experts[e]}, {1.0 - t, t}};
    o.seed = derive_seed(options.seed, e);
    merged = linear ? merge_linear(pair, o) : ties_step(pair, o, dare);
    if (input.progress) input.progress->update("merge", e, input.experts.size() - 1, "");
  }
  if (input.progress) input.progress->finish();
  return merged;
}

}  // namespace quiver::merging
