// SPDX-License-Identifier: Apache-2.0
// Experts over the frozen base as an objective: one, or several at once, each a lane.
//
// A step packs the rows of all lanes side by side and runs them through the base once, each row under its own expert.
// An expert's loss is the mean cross-entropy over the target tokens of its own rows, so its gradient is the one it
// would have alone; its dropout and data order are its own too, drawn from the run's seed and its name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/data/join.h"
#include "quiver/training/objective.h"

namespace quiver::training {

/// What an expert learns from.
struct ExpertData {
  std::string name;
  std::vector<std::string> tasks;
  std::vector<data::TokenRow> train, validation;
};

/// Hash over the name and all rows.
std::string data_key(const ExpertData& data);

class ExpertObjective : public Objective {
 public:
  /// `options` must outlive it.
  ExpertObjective(const model::Model& model, const TrainOptions& options);

  /// A lane that takes its start from `start`, whose tensors are copied. Throws Error{usage} without training rows.
  void add(ExpertData data, const adapter::Adapter& start, RunFolder* run = nullptr);

  std::vector<Lane>& lanes() override { return lanes_; }
  const model::Model& model() const override { return model_; }
  model::BindExperts bind(const std::vector<WeightedRow>& rows) override;

  const ExpertData& data(std::size_t lane) const { return *data_[lane]; }
  /// The expert as it is now: views of what trains, which require a gradient.
  const adapter::Adapter& adapter(std::size_t lane) const { return adapters_[lane]; }
  /// A copy of it.
  adapter::Adapter result(std::size_t lane) const;

 private:
  model::Model model_;
  const TrainOptions& options_;
  std::vector<std::unique_ptr<ExpertData>> data_;
  std::vector<adapter::Adapter> adapters_;
  std::vector<Lane> lanes_;
  std::shared_ptr<const adapter::Bank> bank_;  ///< of all adapters, made when it is first needed
};

}  // namespace quiver::training
