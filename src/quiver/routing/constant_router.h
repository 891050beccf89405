// SPDX-License-Identifier: Apache-2.0
// Routers whose mix is the same for all tokens of a row and for all sites: base, expert:NAME, mix:..., uniform, oracle,
// and the rows of a training batch.
#pragma once

#include "quiver/routing/router.h"

namespace quiver::routing {

/// Row i of the batch mixes pairs[i] at every site.
std::unique_ptr<model::ExpertSource> bind_rows(std::shared_ptr<const adapter::Bank> bank,
                                               const model::PackedBatch& batch,
                                               const std::vector<std::vector<ops::ExpertWeight>>& pairs,
                                               ops::Combine combine = ops::Combine::outputs);

class ConstantRouter : public Router {
 public:
  ConstantRouter(std::shared_ptr<const adapter::Bank> bank, std::vector<ops::ExpertWeight> pairs,
                 ops::Combine combine = ops::Combine::outputs)
      : bank_(std::move(bank)), pairs_(std::move(pairs)), combine_(combine) {}
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                            const std::vector<std::string>&) const override;

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  std::vector<ops::ExpertWeight> pairs_;
  ops::Combine combine_;
};

/// The experts trained on the row's task, equally weighted. A row of a task that no expert knows is an Error{usage}.
class OracleRouter : public Router {
 public:
  explicit OracleRouter(RouterInputs inputs) : inputs_(std::move(inputs)) {}
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                            const std::vector<std::string>& row_tasks) const override;

 private:
  RouterInputs inputs_;
};

}  // namespace quiver::routing
