// SPDX-License-Identifier: Apache-2.0
// Listens to what sites read: for means, gates and signatures.
#pragma once

#include <functional>
#include <memory>

#include "quiver/model/experts.h"

namespace quiver::routing {

/// Passes requests on to another source (null: the base model) and shows each input before.
class InputListener : public model::PassingOn {
 public:
  using Heard = std::function<void(const std::vector<model::SiteColumns>& sites, const at::Tensor& x)>;
  InputListener(std::unique_ptr<model::ExpertSource> source, Heard heard)
      : PassingOn(source.get()), source_(std::move(source)), heard_(std::move(heard)) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    heard_(sites, x);
    return PassingOn::at(sites, x);
  }

 private:
  std::unique_ptr<model::ExpertSource> source_;
  Heard heard_;
};

}  // namespace quiver::routing
