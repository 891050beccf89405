// SPDX-License-Identifier: Apache-2.0
// Tensors of random numbers that are the same on every machine for one seed.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/base/random.h"

namespace quiver::ops {

/// U(-bound, bound), float32, drawn in the order of the memory.
at::Tensor uniform(at::IntArrayRef shape, double bound, Random& random);

/// U(-1/sqrt(in), 1/sqrt(in)) [out, in]: how torch's Linear starts.
at::Tensor linear_start(std::int64_t out, std::int64_t in, Random& random);

}  // namespace quiver::ops
