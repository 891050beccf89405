// SPDX-License-Identifier: Apache-2.0
// LoraHub (Huang et al., 2023, arXiv 2307.13269): one weight per expert for a new task, found without gradients from a
// few examples.
//
//   minimise  loss(w) + penalty * mean |w|   over  w in [-bound, bound]^E, from w = 0
//
// by Powell's COBYLA (NLopt): of derivative-free methods it is the one that Nevergrad's NGOpt, which the published code
// runs, chooses for 5 to 30 weights and fewer than 30 evaluations per weight.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace quiver::training {

struct LorahubOptions {
  std::int64_t evaluations = 30;  ///< of the loss. The first E + 1 look at each weight alone; fewer leave some at 0
  double bound = 1.5;
  double penalty = 0.05;
  double first_step = 0.5;  ///< of each weight
};

struct LorahubResult {
  std::vector<double> weights;  ///< the best that were tried
  double objective = 0.0, at_zero = 0.0;
  std::int64_t evaluations = 0;
};

/// What `loss` throws ends the search and is thrown. Throws Error{usage} on no weights or options out of range.
LorahubResult lorahub(std::size_t experts, const std::function<double(const std::vector<double>&)>& loss,
                      const LorahubOptions& options);

}  // namespace quiver::training
