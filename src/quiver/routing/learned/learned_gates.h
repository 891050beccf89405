// SPDX-License-Identifier: Apache-2.0
// Trained gates: x . p_e for a vector p_e of each expert at each site, made in one of three ways. Whatever the way, the
// vectors are a table at the end, and routing by it is routing by directions.
#pragma once

#include <map>
#include <string>

#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

enum class GateKind {
  linear,        ///< p_e itself (MoLoRA, token-level mixtures)
  rkhs,          ///< p_e = W_h^T W_e emb_e: both sides meet in a space of their own (MTTL's moe_rkhs_router)
  product_keys,  ///< p_(i,j) = W_1^T k_i + W_2^T k'_j for E = n^2 experts (PEER, arXiv 2407.04153, one head)
};

struct GateShape {
  GateKind kind = GateKind::linear;
  std::int64_t space = 64;      ///< rkhs: width of the common space; product keys: width of each half's keys
  std::int64_t embedding = 32;  ///< rkhs: width of the experts' embeddings
};

/// Fresh weights by name, leaves that require gradients. A pair of sites shares nothing. Throws Error{usage} where
/// product keys are asked for and E is not a square.
std::map<std::string, at::Tensor> fresh_gates(const std::vector<model::Site>& sites, std::int64_t experts,
                                              const GateShape& shape, std::uint64_t seed);

/// The table [E rows per site] that the weights make; differentiable in them.
SiteTable gate_table(const std::vector<model::Site>& sites, std::int64_t experts, const GateShape& shape,
                     const std::map<std::string, at::Tensor>& weights);

}  // namespace quiver::routing
