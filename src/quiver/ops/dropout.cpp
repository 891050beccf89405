// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/dropout.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "quiver/base/error.h"
#include "quiver/kernels/hash_mask.h"

namespace quiver::ops {

at::Tensor dropout_mask(const DropoutPlan& plan, const at::Tensor& like) {
  const std::int64_t tokens = like.size(0), width = like.size(1);
  QUIVER_CHECK(static_cast<std::int64_t>(plan.token_seeds->size()) == tokens, mismatch, "dropout",
               "{} token seeds for {} tokens", plan.token_seeds->size(), tokens);
  auto mask = at::empty({tokens, width}, at::kFloat);
  float* out = mask.data_ptr<float>();
  at::parallel_for(0, tokens, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      kernels::hash_mask((*plan.token_seeds)[static_cast<std::size_t>(t)] ^ plan.site, plan.probability, width,
                         out + t * width);
    }
  });
  return mask.to(like.scalar_type());
}

}  // namespace quiver::ops
