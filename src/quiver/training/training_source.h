// SPDX-License-Identifier: Apache-2.0
// The experts of a training batch: each row under its own expert, with its own dropout.
#pragma once

#include <memory>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/model/bind_experts.h"

namespace quiver::training {

struct TrainingRow {
  std::int64_t expert = 0;
  std::uint64_t seed = 0;  ///< of its dropout masks
};

/// rows: one per row of the batches to come. dropout: probability, 0 for none.
model::BindExperts bind_training_rows(std::shared_ptr<const adapter::Bank> bank, std::vector<TrainingRow> rows,
                                      double dropout);

}  // namespace quiver::training
