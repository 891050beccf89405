// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/full_training.h"

#include <ATen/TensorOperators.h>

#include <optional>

#include "quiver/base/error.h"
#include "quiver/training/flat.h"
#include "quiver/training/loop.h"

namespace quiver::training {
namespace {

std::vector<WeightedRow> weighted(const std::vector<data::TokenRow>& rows) {
  std::vector<WeightedRow> out;
  for (const auto& row : rows) out.push_back({&row, row.weight});
  return out;
}

class FullObjective : public Objective {
 public:
  FullObjective(model::TrainableModel& model, const FullTraining& training,
                const std::vector<data::TokenRow>& validation)
      : model_(model), lanes_(1) {
    auto& lane = lanes_[0];
    lane.name = training.title;
    lane.run = training.run;
    lane.validation = weighted(validation);
    ParameterGroup group{"weights", model.parameters, training.options.learning_rate};
    group.gradient = model.gradient;
    group.decays = flat_decays([&](auto visit) {
      for (const auto& [name, weight] : model_.weights()) visit(weight);
    });
    if (training.relative_steps) group.stepped = [this](const at::Tensor& before) { scale_steps(before); };
    lane.groups.push_back(std::move(group));
  }

  std::vector<Lane>& lanes() override { return lanes_; }
  void begin(std::int64_t) override {
    network_.reset();
    network_.emplace(model_.model());
  }
  const model::Model& model() const override { return *network_; }
  model::BindExperts bind(const std::vector<WeightedRow>&) override { return nullptr; }
  std::string against_recompute() const override { return "every weight trains, and layers share graphs of them"; }
  bool passes_share_graph() const override { return true; }

 private:
  /// What AdamW changed, in proportion to each tensor.
  void scale_steps(const at::Tensor& before) {
    constexpr double kLeast = 1e-3;  // Shazeer and Stern, 2018
    std::int64_t begin = 0;
    for (const auto& [name, weight] : model_.weights()) {
      const auto old = before.narrow(0, begin, weight.numel());
      auto now = model_.parameters.narrow(0, begin, weight.numel());
      const auto size = old.square().mean().sqrt().item<double>();
      now.sub_(old).mul_(std::max(size, kLeast)).add_(old);
      begin += weight.numel();
    }
  }

  model::TrainableModel& model_;
  std::vector<Lane> lanes_;
  std::optional<model::Model> network_;  ///< of the weights as they are, since `begin`
};

}  // namespace

Figures train_full(model::TrainableModel& model, const FullTraining& training, const std::vector<data::TokenRow>& train,
                   const std::vector<data::TokenRow>& validation, Progress& progress) {
  FullObjective objective(model, training, validation);
  train_by_epochs(objective.lanes()[0], weighted(train), training.options, training.options.seed);
  return Loop(objective, training.options, progress, training.title).run()[0];
}

Figures train_full(model::TrainableModel& model, const FullTraining& training,
                   const std::function<std::vector<data::TokenRow>(std::int64_t)>& rows_of_step,
                   const std::vector<data::TokenRow>& validation, Progress& progress) {
  QUIVER_CHECK(training.options.max_steps >= 1, usage, "--max-steps", "{}, expected 1 or more",
               training.options.max_steps);
  FullObjective objective(model, training, validation);
  std::vector<data::TokenRow> rows;  // of the step at hand
  auto& lane = objective.lanes()[0];
  lane.steps = lane.steps_per_epoch = training.options.max_steps;
  lane.rows = [&](std::int64_t step) {
    rows = rows_of_step(step);
    return weighted(rows);
  };
  return Loop(objective, training.options, progress, training.title).run()[0];
}

}  // namespace quiver::training
