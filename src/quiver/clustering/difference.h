// SPDX-License-Identifier: Apache-2.0
// How two experts differ, site by site: sizes, direction and subspaces of their products s B A.
//
// With A^T = Q R and B = P S (thin QR), s B A = P (s S R^T) Q^T: norms and singular subspaces are those of the R x R
// core s S R^T, turned by P and Q, so nothing of the size [out, in] is formed. Computed in float64.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quiver/adapter/adapter.h"

namespace quiver::clustering {

struct SiteDifference {
  std::string site;
  double norm_a = 0.0, norm_b = 0.0;  ///< Frobenius norm of s B A; 0 where the expert does not touch the site
  double cosine = 0.0;                ///< <s_a B_a A_a, s_b B_b A_b> / (norm_a norm_b)
  /// Largest principal angle, in degrees, between what the two products read (their row spaces) and between what they
  /// write (their column spaces), over the smaller of the two dimensions: 0 where one space holds the other. Directions
  /// whose singular value is below 1e-6 of the largest, the rounding of float32 factors, are not counted.
  double input_angle = 0.0, output_angle = 0.0;
};

/// All sites of either expert, by name; where one of them has norm 0, cosine and angles are NaN. Throws Error{mismatch}
/// where a site's dimensions differ, Error{unsupported} where one is more than low-rank factors.
std::vector<SiteDifference> differences(const adapter::Adapter& a, const adapter::Adapter& b,
                                        const std::pair<std::string, std::string>& names = {"the first", "the second"});

}  // namespace quiver::clustering
