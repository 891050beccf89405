// SPDX-License-Identifier: Apache-2.0
// Loading the linear maps that read the same input as one.
#pragma once

#include <string>
#include <vector>

#include "quiver/model/linear.h"
#include "quiver/model/weight_reader.h"

namespace quiver::model {

struct SiteSpec {
  std::string name;  ///< after the layer's prefix
  std::int64_t out = 0;
};

/// The maps `specs` of a layer, which all read `in` inputs, as one Linear; their sites are appended to `sites`.
Linear load_sites(const std::string& layer_prefix, const std::vector<SiteSpec>& specs, std::int64_t in, bool bias,
                  std::int64_t layer, WeightReader& reader, std::vector<Site>& sites);

}  // namespace quiver::model
