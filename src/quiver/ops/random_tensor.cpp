// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/random_tensor.h"

#include <ATen/ops/empty.h>

#include <cmath>

namespace quiver::ops {

at::Tensor uniform(at::IntArrayRef shape, double bound, Random& random) {
  auto out = at::empty(shape, at::kFloat);
  auto* values = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) values[i] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
  return out;
}

at::Tensor linear_start(std::int64_t out, std::int64_t in, Random& random) {
  return uniform({out, in}, 1.0 / std::sqrt(static_cast<double>(in)), random);
}

}  // namespace quiver::ops
