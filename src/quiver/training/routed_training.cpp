// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/routed_training.h"

#include "quiver/training/loop.h"

namespace quiver::training {
namespace {

class RoutedObjective : public Objective {
 public:
  RoutedObjective(const RoutedTraining& training, const std::vector<ParameterGroup>& groups,
                  const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                  const RoutedMethod& method)
      : training_(training), method_(method), lanes_(1) {
    auto& lane = lanes_[0];
    lane.name = training.title;
    lane.groups = groups;
    lane.run = training.run;
    lane.validation = weighted(validation);
    train_by_epochs(lane, weighted(train), training.options, training.options.seed);
  }

  std::vector<Lane>& lanes() override { return lanes_; }
  void begin(std::int64_t step) override {
    if (method_.begin) method_.begin(step);
  }
  const model::Model& model() const override { return training_.model; }
  model::BindExperts bind(const std::vector<WeightedRow>& rows) override { return method_.bind(rows); }
  at::Tensor extra_loss(const at::Tensor& hidden) override {
    return method_.extra_loss ? method_.extra_loss(hidden) : at::Tensor();
  }
  std::string against_recompute() const override { return method_.against_recompute; }

 private:
  static std::vector<WeightedRow> weighted(const std::vector<RoutedRow>& rows) {
    std::vector<WeightedRow> out;
    for (const auto& r : rows) out.push_back({&r.row, r.row.weight, r.label});
    return out;
  }

  const RoutedTraining& training_;
  const RoutedMethod& method_;
  std::vector<Lane> lanes_;
};

}  // namespace

Figures train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                     const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                     const RoutedMethod& method) {
  RoutedObjective objective(training, groups, train, validation, method);
  return Loop(objective, training.options, training.progress, training.title).run()[0];
}

}  // namespace quiver::training
