// SPDX-License-Identifier: Apache-2.0
// Sites, and where a linear map gets its experts from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "quiver/ops/apply_experts.h"

namespace quiver::model {

/// One linear map of the base model that an adapter may attach to.
struct Site {
  std::string name;  ///< Hugging Face module path: model.layers.3.self_attn.q_proj
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t layer = 0;
};

/// A site's columns in a (possibly fused) weight.
struct SiteColumns {
  std::int64_t site = 0;  ///< number in LanguageModel::sites()
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// What experts add at the sites of one linear map. Bound to one batch: its mixes are for that batch's tokens.
/// The model calls it and does not know where the mixes come from.
class ExpertSource {
 public:
  virtual ~ExpertSource() = default;
  /// `sites` share the input x [T, in]. Sites without experts may be left out.
  virtual std::vector<ops::SiteUse> at(const std::vector<SiteColumns>& sites, const at::Tensor& x) = 0;
};

}  // namespace quiver::model
