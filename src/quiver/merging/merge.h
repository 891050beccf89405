// SPDX-License-Identifier: Apache-2.0
// Merging: one adapter out of several, offline. All methods by name; each is a plain function over a list of experts.
//
// With factors A_e [R, in], B_e [out, R], scale s_e and weight w_e, an expert's difference is D_e = s_e B_e A_e.
// Methods work on the differences (exactly, by stacking factors; never as dense matrices unless a method's name ends in
// -svd or it is told combine=products) or on the factors A and B, each for itself, which adds cross terms B_i A_j.
// Factors of smaller rank are padded with zeros, which leaves D_e as it is; a site that an expert lacks counts as D_e =
// 0.
//
// The result has float32 factors and scale 1 at every site (alpha = rank; ranks may differ between sites). Sums are
// formed in float64. One expert of weight 1 is returned as it is, unless `rank`, `lambda`, `density` or
// `t` ask for something else.
// Random choices depend on seed, expert number, site name and factor only: not on threads. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/progress.h"

namespace quiver::merging {

struct MergeInput {
  std::vector<const adapter::Adapter*> experts;
  /// One per expert; empty: the method's own (MethodHelp::weights).
  std::vector<double> weights;
  /// Told of every site that is done (for repair: of every expert); null: nobody. Sites are merged in parallel, so it
  /// is called from several threads, though never from two at once.
  Progress* progress = nullptr;
  std::vector<std::string> names = {};  ///< of the experts, for errors; empty: their numbers
};

/// A method reads the options that its table entry names and no others.
struct MergeOptions {
  /// Where implementations differ, the one to follow:
  ///   peft      factors enter times sqrt(|w s|) (the sign of w s goes into A); signs are elected from unweighted
  ///             entries, a sum of 0 counts as positive; the mean divides by the number of agreeing entries
  ///   mttl      factors enter times w sqrt(s), for ties sqrt(w s); ties keeps the share `density` of a whole expert
  ///             instead of each tensor, and entries whose sum is 0 become 0
  ///   mergekit  signs are elected from weighted entries; ties and della divide by the weights of the agreeing entries,
  ///             breadcrumbs and dare do not divide; dare and della rescale by rescale=l1
  enum class Convention { peft, mttl, mergekit };
  Convention convention = Convention::peft;
  /// What is combined: A and B each for itself, or the differences B A. Default: the method's.
  enum class Combine { factors, products };
  std::optional<Combine> combine;
  /// Share of entries that are kept, above 0, at most 1. Smaller: less interference, less of each expert.
  /// Default: the method's.
  std::optional<double> density;
  /// Rank of the result. 0: for svd and the -svd methods, at each site, the largest of the experts; for all others
  /// whatever comes out (up to the sum of the ranks). Above 0: truncated to it by singular values.
  std::int64_t rank = 0;
  /// How an entry's sign is elected: by the sum of the values, or by the number of experts.
  enum class Sign { total, frequency };
  Sign sign = Sign::total;
  /// After a random choice of entries: divide by the chance of being kept (the expected value stays), scale to the
  /// tensor's sum of magnitudes, or nothing. Default: the convention's.
  enum class Rescale { probability, l1, none };
  std::optional<Rescale> rescale;
  double lambda = 1.0;            ///< factor on the merged difference; 0 leaves the base model alone
  double gamma = 0.01;            ///< breadcrumbs: share of the largest entries that is dropped, at least 0, below 1
  double epsilon = 0.15;          ///< della: chances of being kept run from density - epsilon to density + epsilon
  std::optional<double> t;        ///< slerp, repair: share of the second (next) expert, 0 to 1
  double learning_rate = 1e-5;    ///< wudi: step size of Adam, above 0
  std::int64_t iterations = 300;  ///< wudi: most steps, at least 0; 0 gives the sum divided by the number of experts
  std::uint64_t seed = 0;         ///< dare, della: of the random choices
  /// project: coefficients for each tensor, or one set for all.
  enum class Granularity { fine, coarse };
  Granularity granularity = Granularity::fine;
  std::string step = "linear";  ///< repair: linear, ties or dare-ties
};

/// Throws Error{usage} on an unknown method or key, naming the nearest, on a key that the method does not read and on a
/// value that it does not take.
MergeOptions merge_options(const std::string& method, const std::vector<std::pair<std::string, std::string>>& settings);

/// Throws Error{usage} on an unknown method (naming the nearest), no experts, wrong numbers of experts or weights or an
/// option out of range or two that disagree, Error{unsupported} where experts that are more than low-rank factors are
/// to be merged, and Error{mismatch} where a site has different widths in two experts.
adapter::Adapter merge(const std::string& method, const MergeInput& input, const MergeOptions& options);

struct MethodHelp {
  std::string name;
  std::string options;  ///< `density=D,sign=total|frequency`: capitals stand for numbers
  std::string weights;  ///< what stands in for missing weights: "1/N", "1", or "none": the method takes none
  std::string summary;
};
/// Every method, for --help and for suggestions.
const std::vector<MethodHelp>& merge_table();

}  // namespace quiver::merging
