// SPDX-License-Identifier: Apache-2.0
// Kinds whose factors, scales or bottlenecks are worked out from fewer numbers before they are applied.
//
//   DoRA       factors A, B, and c = m / |W + s B A| (of each row, without a gradient) as the scale of W x + s B A x
//              (Liu et al., 2024). A base bias stays as it is.
//   VeRA       A = diag(d) S_A[:, :in],  B = diag(b) S_B[:out], S_A and S_B frozen and shared by all sites, scale 1
//              (Kopiczko et al., 2024)
//   Compacter  down^T = sum_i R_i (x) (L_i M_i) and up^T alike, (x) the Kronecker product, the rule R shared by all
//              sites (Mahabadi et al., 2021)
//   MPT        soft prompt P * (U V), elementwise; U and V the means of each over the tasks (Wang et al., 2023)
//   prefix     keys and values by a map of one hidden layer: W_2 tanh(W_1 e + b_1) + b_2 (Li and Liang, 2021)
#pragma once

#include "quiver/adapter/adapter.h"

namespace quiver::adapter {

/// True where something has to be worked out.
bool derives(const Adapter& adapter);

/// Multitask prompt tuning's prompt for one of its tasks, [m, D]. Differentiable. Throws Error{mismatch}.
at::Tensor task_prompt(const Adapter& adapter, std::int64_t task, const std::string& name);

/// The adapter as it is applied: with factors, extras and a prefix alone. Differentiable in its tensors. Throws
/// Error{mismatch} where a site is not among `sites` or shapes do not fit, as expert `name`.
Adapter applied(const Adapter& adapter, const std::vector<model::Site>& sites, const std::string& name);

}  // namespace quiver::adapter
