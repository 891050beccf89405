// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/linear.h"

#include "quiver/ops/transformer_ops.h"

namespace quiver::model {

at::Tensor Linear::forward(const at::Tensor& x, ExpertSource* experts) const {
  if (!experts) return ops::frozen_linear(x, weight, bias);
  const auto uses = experts->at(sites, x);
  const auto in = ops::scaled_input(x, uses);
  return experts->finish(sites, x, ops::apply_experts(in, ops::frozen_linear(in, weight, bias), uses));
}

}  // namespace quiver::model
