// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/linear.h"

#include "quiver/ops/transformer_ops.h"

namespace quiver::model {

at::Tensor Linear::forward(const at::Tensor& x, ExpertSource* experts) const {
  auto y = ops::frozen_linear(x, weight, bias);
  return experts ? ops::apply_experts(x, y, experts->at(sites, x)) : y;
}

}  // namespace quiver::model
