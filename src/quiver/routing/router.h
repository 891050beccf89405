// SPDX-License-Identifier: Apache-2.0
// A router computes mixes: which experts of a bank apply to each token, and how strongly.
//
// Immutable once made and safe to share between threads; all that belongs to one batch lives in the ExpertSource it
// binds.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/model/packed_batch.h"

namespace quiver::routing {

class Router {
 public:
  virtual ~Router() = default;
  /// Experts for one pass over `batch`. `row_tasks` names the task of each row ("" where unknown): only the oracle
  /// asks. Null: no experts (the base model).
  virtual std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                                    const std::vector<std::string>& row_tasks) const = 0;
};

/// What routers are made from.
struct RouterInputs {
  std::shared_ptr<const adapter::Bank> bank;
  /// Tasks of each expert, by expert number: what the oracle goes by.
  std::vector<std::vector<std::string>> expert_tasks;
  /// Arrow's prototypes and the like, per site [E, in]; made when a route first asks for them.
  std::function<std::vector<at::Tensor>(bool scale_by_sigma)> prototypes;
};

}  // namespace quiver::routing
