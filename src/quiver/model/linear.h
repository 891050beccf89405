// SPDX-License-Identifier: Apache-2.0
// A frozen linear map, of one site or of several that read the same input, fused into one GEMM.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "quiver/model/experts.h"

namespace quiver::model {

struct Linear {
  at::Tensor weight;  ///< [out, in]; the outputs of `sites` stand one after another
  at::Tensor bias;    ///< [out] or undefined
  std::vector<SiteColumns> sites;

  /// W x + b plus what `experts` add (null: nothing). x: [T, in] -> [T, out].
  at::Tensor forward(const at::Tensor& x, ExpertSource* experts) const;
  std::int64_t parameters() const { return weight.numel() + (bias.defined() ? bias.numel() : 0); }
};

}  // namespace quiver::model
