// SPDX-License-Identifier: Apache-2.0
// Routers whose choice needs no look at the text: base, expert:NAME, mix:..., uniform, oracle.
#pragma once

#include "quiver/routing/router.h"

namespace quiver::routing {

/// The same pairs for every request.
class ConstantRouter : public RequestRouter {
 public:
  ConstantRouter(std::shared_ptr<const adapter::Bank> bank, std::vector<ops::ExpertWeight> pairs,
                 ops::Combine combine = ops::Combine::outputs)
      : RequestRouter(std::move(bank), combine), pairs_(std::move(pairs)) {}
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const override {
    return std::vector<std::vector<ops::ExpertWeight>>(requests.size(), pairs_);
  }

 private:
  std::vector<ops::ExpertWeight> pairs_;
};

/// The experts trained on the request's task, equally weighted. A task that no expert knows is an Error{usage}.
class OracleRouter : public RequestRouter {
 public:
  explicit OracleRouter(const RouterInputs& inputs)
      : RequestRouter(inputs.bank, ops::Combine::outputs), expert_tasks_(inputs.expert_tasks) {}
  bool reads_task() const override { return true; }
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const override;

 private:
  std::vector<std::vector<std::string>> expert_tasks_;
};

}  // namespace quiver::routing
