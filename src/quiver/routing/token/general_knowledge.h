// SPDX-License-Identifier: Apache-2.0
// Experts less what all of them know: GenKnowSub (arXiv 2505.10939).
#pragma once

#include <memory>

#include "quiver/adapter/bank.h"
#include "quiver/base/options.h"

namespace quiver::routing {

struct GeneralKnowledge {
  double weight = 1.0;
  /// What is taken from an expert s B A:
  ///   products  w s_g B_g A_g, exactly: factors side by side, rank R + R_g
  ///   factors   from A w A_g and from B w B_g, each for itself, as the authors and PEFT do; cross terms stay, ranks
  ///   must
  ///             be equal, and the expert keeps its scale
  enum class Convention { products, factors } convention = Convention::products;
};
/// general_weight, convention.
void describe(GeneralKnowledge& options, OptionSet& set);

/// The bank with what expert `general` knows taken from every other one. `general` itself keeps its place and touches
/// no site, so that routes by token do not choose it. Sites that one of both does not touch stay as they are, and so
/// does what experts have beside factors. Throws Error{unsupported} where `general` has more than factors, or an expert
/// with factors scales its outputs.
std::shared_ptr<const adapter::Bank> without_general_knowledge(const adapter::Bank& bank, std::int64_t general,
                                                               const GeneralKnowledge& options);

}  // namespace quiver::routing
