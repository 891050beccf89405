// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/merge.h"

#include <cmath>

#include "quiver/adapter/traits.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/merging/entrywise.h"
#include "quiver/merging/knots.h"
#include "quiver/merging/merge_options.h"
#include "quiver/merging/project.h"
#include "quiver/merging/repair.h"
#include "quiver/merging/slerp.h"
#include "quiver/merging/sums.h"
#include "quiver/merging/wudi.h"

namespace quiver::merging {
namespace {

struct Entry {
  MethodHelp help;
  adapter::Adapter (*merge)(const MergeInput&, const MergeOptions&);
  std::optional<double> density = {};  ///< where none is given
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> table{
      {{"linear", "convention=peft|mttl,combine=factors|products,rank=R", "1/N",
        "weighted sum of the factors, or exact"},
       merge_linear},
      {{"uniform", "combine=factors|products,rank=R", "none", "mean of the factors (MTTL), or of the products"},
       merge_uniform},
      {{"cat", "", "1/N", "weighted sum, exact: factors stacked, ranks added up"}, merge_cat},
      {{"svd", "rank=R", "1/N", "weighted sum, truncated to a rank"}, merge_svd},
      {{"task-arithmetic", "lambda=L,rank=R", "1", "lambda times the sum, exact"}, merge_task_arithmetic},
      {{"ties", "density=D,sign=total|frequency,convention=peft|mttl|mergekit,lambda=L", "1",
        "largest entries of the factors, then a vote on each sign"},
       merge_ties,
       0.2},
      {{"ties-svd", "density=D,sign=total|frequency,convention=peft|mergekit,lambda=L,rank=R", "1",
        "ties on the products, truncated"},
       merge_ties_svd,
       0.2},
      {{"dare-linear", "density=D,seed=S,rescale=probability|l1|none,convention=peft|mergekit,lambda=L", "1/N",
        "random entries of the factors, rescaled, summed"},
       merge_dare_linear,
       0.5},
      {{"dare-ties",
        "density=D,seed=S,rescale=probability|l1|none,sign=total|frequency,convention=peft|mergekit,lambda=L", "1",
        "random entries of the factors, rescaled, then a vote on each sign"},
       merge_dare_ties,
       0.5},
      {{"dare-linear-svd", "density=D,seed=S,rescale=probability|l1|none,convention=peft|mergekit,lambda=L,rank=R",
        "1/N", "dare-linear on the products, truncated"},
       merge_dare_linear_svd,
       0.5},
      {{"dare-ties-svd",
        "density=D,seed=S,rescale=probability|l1|none,sign=total|frequency,convention=peft|mergekit,lambda=L,rank=R",
        "1", "dare-ties on the products, truncated"},
       merge_dare_ties_svd,
       0.5},
      {{"magnitude-prune", "density=D,convention=peft|mergekit,lambda=L", "1/N",
        "largest entries of the factors, summed"},
       merge_magnitude_prune,
       0.2},
      {{"magnitude-prune-svd", "density=D,convention=peft|mergekit,lambda=L,rank=R", "1/N",
        "magnitude-prune on the products, truncated"},
       merge_magnitude_prune_svd,
       0.2},
      {{"breadcrumbs", "density=D,gamma=G,convention=peft|mergekit,combine=factors|products,lambda=L,rank=R", "1",
        "without the largest and the smallest entries, summed"},
       merge_breadcrumbs,
       0.9},
      {{"della",
        "density=D,epsilon=E,seed=S,rescale=probability|l1|none,sign=total|frequency,convention=peft|mergekit,"
        "combine=factors|products,lambda=L,rank=R",
        "1", "random entries, large ones more often, then a vote on each sign"},
       merge_della,
       0.5},
      {{"slerp", "t=T,combine=products|factors,rank=R", "1/N", "along the arc between two experts"}, merge_slerp},
      {{"wudi", "learning_rate=LR,iterations=N,combine=factors|products,rank=R", "none",
        "least interference with each expert, by Adam on every tensor"},
       merge_wudi},
      {{"knots", "density=D,sign=total|frequency,lambda=L,rank=R", "1", "ties in the experts' common singular basis"},
       merge_knots,
       1.0},
      {{"project", "granularity=fine|coarse,combine=factors|products,rank=R", "none",
        "the first expert as the nearest combination of the others"},
       merge_project},
      {{"subtract", "rank=R", "1, then 1/(N-1)", "the first expert minus the others, exact (GenKnowSub)"},
       merge_subtract},
      {{"repair", "step=linear|ties|dare-ties,t=T,density=D,seed=S", "none",
        "one after another, in order (MergeRepair)"},
       merge_repair},
  };
  return table;
}

const Entry& entry_of(const std::string& method) {
  std::vector<std::string> names;
  for (const auto& entry : entries()) {
    if (entry.help.name == method) return entry;
    names.push_back(entry.help.name);
  }
  fail(ErrorCode::usage, "merge", "no method '{}'{}", method, suggestion(method, names));
}

std::vector<double> weights_of(const MergeInput& input, const MethodHelp& help, const MergeOptions& options) {
  const auto n = input.experts.size();
  const auto where = "merge " + help.name;
  QUIVER_CHECK(input.weights.empty() || help.weights == "none" || !options.t, usage, where,
               "weights and t={} both say how much of each expert there is, expected one of the two", *options.t);
  if (input.weights.empty()) {
    std::vector<double> weights(n, help.weights == "1/N" ? 1.0 / static_cast<double>(n) : 1.0);
    for (std::size_t e = 1; e < n && help.name == "subtract"; ++e) weights[e] = 1.0 / static_cast<double>(n - 1);
    return weights;
  }
  QUIVER_CHECK(input.weights.size() == n, usage, where, "{} weights for {} experts", input.weights.size(), n);
  for (const double w : input.weights) {
    QUIVER_CHECK(std::isfinite(w), usage, where, "a weight is {}, expected a finite number", w);
    QUIVER_CHECK(help.weights != "none" || w == input.weights[0], usage, where, "takes no weights, and they differ");
  }
  return input.weights;
}

/// Options that say different things of one merge.
void check_agree(const std::string& method, const MergeOptions& options, const std::string& where) {
  const bool products = options.combine == MergeOptions::Combine::products || method.ends_with("-svd");
  QUIVER_CHECK(!products || options.convention != MergeOptions::Convention::mttl, usage, where,
               "convention=mttl is a rule for factors, not for products; take combine=factors, or another convention");
}

/// True where a method has nothing to do: one expert, and nothing that is asked of it.
bool as_it_is(const MergeInput& weighted, const MergeOptions& options) {
  return weighted.experts.size() == 1 && weighted.weights[0] == 1.0 && options.lambda == 1.0 && options.rank == 0 &&
         !options.density && !options.t;
}

}  // namespace

adapter::Adapter merge(const std::string& method, const MergeInput& input, const MergeOptions& options) {
  const auto& entry = entry_of(method);
  const auto where = "merge " + method;
  QUIVER_CHECK(!input.experts.empty(), usage, where, "no experts to merge");
  check_ranges(options, where);
  check_agree(method, options, where);
  const MergeInput weighted{input.experts, weights_of(input, entry.help, options), input.progress, input.names};
  if (as_it_is(weighted, options)) return *input.experts[0];
  for (std::size_t e = 0; e < input.experts.size(); ++e)
    adapter::require(e < input.names.size() ? input.names[e] : fmt::format("{}", e), *input.experts[e],
                     {where, {adapter::Trait::low_rank}});
  auto resolved = options;
  if (!resolved.density) resolved.density = entry.density;
  return entry.merge(weighted, resolved);
}

const std::vector<MethodHelp>& merge_table() {
  static const std::vector<MethodHelp> help = [] {
    std::vector<MethodHelp> out;
    for (const auto& entry : entries()) out.push_back(entry.help);
    return out;
  }();
  return help;
}

}  // namespace quiver::merging
