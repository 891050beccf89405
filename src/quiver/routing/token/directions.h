// SPDX-License-Identifier: Apache-2.0
// Singular directions of experts: the inputs that B A amplifies most. The first one is Arrow's prototype (arXiv
// 2405.11157); all of them, times their gain, are SpectR's spectrum (arXiv 2504.03454).
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/routing/router.h"
#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

struct DirectionOptions {
  std::int64_t count = 1;  ///< directions per expert, largest singular values first; 0: the largest rank of the bank
  enum class Length {
    unit,           ///< singular vectors as they are
    sigma_squared,  ///< times the squared singular value of B A (MTTL's scale option)
    gain,           ///< times alpha/rank and the singular value: |direction . x| is what the expert adds along it
  };
  Length length = Length::unit;
  /// Sites q, k, v of a layer share their directions, those of [B_q; B_k; B_v] A. Their A's must be equal.
  bool tie_qkv = false;
};

/// The right singular vectors of B A, [R, in] float32 rows of the length asked for (signs arbitrary), largest first,
/// and the squared singular values, float64 [R] (alpha/rank plays no part). From the R x R matrices A A^T and B^T B in
/// float64; B A is never formed. A direction whose singular value is lost in rounding is zero.
struct Spectrum {
  at::Tensor directions, sigma_squared;
};
Spectrum spectrum_of(const ops::LoraFactors& factors, DirectionOptions::Length length);

/// count * E rows per site: expert e has rows [e * count, (e + 1) * count), zero where it has none.
SiteTable compute_directions(const adapter::Bank& bank, const DirectionOptions& options, Progress& progress);

/// Arrow's prototypes of a library's experts (one unit direction each), kept as derived data of each expert
/// (derived/prototypes). Those that are not there are computed.
SiteTable library_prototypes(const RouterInputs& inputs);

}  // namespace quiver::routing
