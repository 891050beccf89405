// SPDX-License-Identifier: Apache-2.0
// Sums of differences as factors, exactly or truncated.
#pragma once

#include <vector>

#include "quiver/merging/sites.h"

namespace quiver::merging {

/// sum_i c_i s_i B_i A_i as factors of rank sum R_i: the stacked c_i s_i A_i and B_i (PEFT's "cat").
ops::LoraFactors stack(const Terms& terms, const std::vector<double>& coefficients);
/// The same with the terms' weights times `factor`.
ops::LoraFactors stack(const Terms& terms, double factor = 1.0);

/// The nearest difference of rank at most `rank` in the Frobenius norm, with orthonormal rows in A and orthogonal
/// columns in B. By QR of both factors and the SVD of the small matrix between them; never forms B A. As it is where
/// its rank is no larger, or `rank` is 0.
ops::LoraFactors truncate(const ops::LoraFactors& factors, std::int64_t rank);

/// The same for a dense [out, in] matrix, by the eigenvectors of its Gram matrix on the smaller side, in float64.
ops::LoraFactors truncate_dense(const at::Tensor& difference, std::int64_t rank);

/// <s_i B_i A_i, s_j B_j A_j>, from R x R matrices.
double inner_product(const Term& i, const Term& j);

}  // namespace quiver::merging
