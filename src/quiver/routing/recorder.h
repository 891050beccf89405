// SPDX-License-Identifier: Apache-2.0
// Listens to the mixes of a pass: for `inspect`, traces and statistics.
#pragma once

#include <map>

#include "quiver/model/experts.h"

namespace quiver::routing {

/// Passes requests on to another source and keeps each site's mix.
class Recorder : public model::PassingOn {
 public:
  explicit Recorder(model::ExpertSource& source) : PassingOn(&source) {}
  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    auto uses = PassingOn::at(sites, x);
    for (const auto& use : uses) {
      for (const auto& site : sites) {
        if (site.begin == use.out_begin) mixes_[site.site] = use.mix;
      }
    }
    return uses;
  }
  /// By site number.
  const std::map<std::int64_t, std::shared_ptr<const ops::Mix>>& mixes() const { return mixes_; }

 private:
  std::map<std::int64_t, std::shared_ptr<const ops::Mix>> mixes_;
};

}  // namespace quiver::routing
