// SPDX-License-Identifier: Apache-2.0
// A norm of the base model, whose weight an expert may replace.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/model/experts.h"

namespace quiver::model {

struct RmsNorm {
  at::Tensor weight;        ///< float32 [D]
  std::int64_t number = 0;  ///< in Model::norms()

  /// x: [T, D] -> [T, D]. experts: null for the base model.
  at::Tensor forward(const at::Tensor& x, double epsilon, ExpertSource* experts) const;
};

}  // namespace quiver::model
