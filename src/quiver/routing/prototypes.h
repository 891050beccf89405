// SPDX-License-Identifier: Apache-2.0
// Arrow's prototypes (arXiv 2405.11157): for each expert and site, the unit input direction that B A amplifies most.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/library/library.h"

namespace quiver::routing {

struct Prototype {
  at::Tensor direction;        ///< [in] float32, unit length: the first right singular vector of B A, sign arbitrary
  double sigma_squared = 0.0;  ///< square of the first singular value (alpha / rank plays no part)
};

/// By QR of A^T and the eigenvectors of the small matrix R B^T B R^T, in float64; never forms B A.
Prototype prototype_of(const ops::LoraFactors& factors);

/// Directions of all experts of the bank, per site: float32 [E, in]; a row is zero where the expert does not touch the
/// site. sigma_squared, where not null, becomes float32 [E] per site.
std::vector<at::Tensor> compute_prototypes(const adapter::Bank& bank, std::vector<at::Tensor>* sigma_squared,
                                           Progress& progress);

/// The same for a library, read from its derived data where they are there, else computed and written. `names` are the
/// bank's.
std::vector<at::Tensor> library_prototypes(const library::Library& library, const adapter::Bank& bank,
                                           bool scale_by_sigma, Progress& progress);

}  // namespace quiver::routing
