// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/expert_rows_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/input_listener.h"
#include "quiver/routing/router.h"
#include "quiver/routing/token/gate_source.h"
#include "quiver/training/row_loss.h"

namespace quiver::training {

routing::SiteTable average_activation(const model::Model& model, std::shared_ptr<const adapter::Bank> bank,
                                      std::int64_t expert, const std::vector<data::TokenRow>& rows,
                                      const AverageActivationOptions& options) {
  constexpr std::int64_t kPortion_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  bank->require({"prepare average-activation", adapter::kAtSites});
  QUIVER_CHECK(!rows.empty(), usage, "average-activation", "no rows for expert '{}'",
               bank->names()[static_cast<std::size_t>(expert)]);
  routing::SiteTable sums(model.sites(), 1);
  std::vector<WeightedRow> weighted;
  for (const auto& row : rows) weighted.push_back({&row, 1.0});
  for (const auto& portion : portions(weighted, kPortion_tokens)) {
    const auto bind = [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) {
      std::unique_ptr<model::ExpertSource> source;
      if (!options.base_only)
        source = routing::bind_rows(bank, batch,
                                    std::vector<std::vector<ops::ExpertWeight>>(portion.size(), {{expert, 1.0f}}));
      const auto listen = [&](const std::vector<model::SiteColumns>& sites, const at::Tensor& x) {
        for (const auto& row : batch.rows) {
          const bool last = options.token == AverageActivationOptions::Token::last;
          const auto own = last ? x[row.begin + row.count - 1] : x.narrow(0, row.begin, row.count).mean(0);
          for (const auto& site : sites) sums.site(site.site)[0].add_(own.to(at::kFloat));
        }
      };
      return std::make_unique<routing::InputListener>(std::move(source), listen);
    };
    model::answer_pass(model, answer_rows(portion), bind);
  }
  sums.set_flat(sums.flat() / static_cast<double>(rows.size()));
  return sums;
}

routing::SiteTable train_phatgoose_gates(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank,
                                         std::int64_t expert, double learning_rate,
                                         const std::vector<RoutedRow>& rows) {
  bank->require({"prepare phatgoose", adapter::kAtSites});
  routing::SiteTable gates(training.model.sites(), 1);
  std::vector<ParameterGroup> groups{{"gates", gates.flat().detach().set_requires_grad(true), learning_rate}};
  groups[0].decays = at::ones_like(groups[0].values, at::kBool);
  gates.set_flat(groups[0].values);
  const auto bind = [&](const std::vector<WeightedRow>&) {
    return model::BindExperts([&](const model::PackedBatch&, const std::vector<std::size_t>&) {
      return std::make_unique<routing::GateSource>(*bank, expert, gates);
    });
  };
  train_routed(training, groups, rows, {}, {bind});
  gates.set_flat(groups[0].values.detach());
  return gates;
}

}  // namespace quiver::training
