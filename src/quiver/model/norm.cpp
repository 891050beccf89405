// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/norm.h"

#include "quiver/ops/transformer_ops.h"

namespace quiver::model {

at::Tensor RmsNorm::forward(const at::Tensor& x, double epsilon, ExpertSource* experts) const {
  return ops::rms_norm(x, experts ? experts->norm(number, weight) : weight, epsilon);
}

}  // namespace quiver::model
