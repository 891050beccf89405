// SPDX-License-Identifier: Apache-2.0
// Loading the parts of a layer: norms, and the linear maps that read the same input as one.
#pragma once

#include <string>
#include <vector>

#include "quiver/model/linear.h"
#include "quiver/model/norm.h"
#include "quiver/model/weight_reader.h"

namespace quiver::model {

struct SiteSpec {
  std::string name;  ///< after the block's prefix
  std::int64_t out = 0;
  Role role = Role::query;
};

/// Where a block stands.
struct BlockPlace {
  std::string prefix;  ///< of its modules' names, with the last dot
  std::int64_t layer = 0;
  std::int64_t block = 0;  ///< Site::block
};

/// The maps `specs` of a block, which all read `in` inputs, as one Linear; their sites are appended to `sites`.
Linear load_sites(const BlockPlace& place, const std::vector<SiteSpec>& specs, std::int64_t in, bool bias,
                  WeightReader& reader, std::vector<Site>& sites);

/// The norm MODULE, whose weight is MODULE.weight; it is appended to `norms`.
RmsNorm load_norm(const std::string& module, std::int64_t width, std::int64_t layer, WeightReader& reader,
                  std::vector<Norm>& norms);

}  // namespace quiver::model
