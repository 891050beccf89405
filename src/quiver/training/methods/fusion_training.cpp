// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/fusion_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/ops/random_tensor.h"
#include "quiver/training/flat.h"

namespace quiver::training {
namespace {

template <typename Visit>
void for_each_tensor(routing::Fusion& fusion, Visit visit) {
  for (auto& [number, site] : fusion.sites) {
    for (auto* t : {&site.query, &site.query_bias, &site.key, &site.key_bias, &site.value}) visit(*t);
  }
}

routing::Fusion over(routing::Fusion shape, const at::Tensor& flat) {
  point_into(flat, [&](auto visit) { for_each_tensor(shape, visit); });
  return shape;
}

}  // namespace

routing::Fusion start_fusion(const model::Model& model, const adapter::Bank& bank, const FusionTraining& how,
                             std::uint64_t seed) {
  QUIVER_CHECK(how.temperature > 0 && how.regularisation >= 0, usage, "fusion",
               "a temperature of {} and a regularisation of {}, expected above 0 and at least 0", how.temperature,
               how.regularisation);
  routing::check_fusable(bank);
  routing::Fusion out;
  out.temperature = how.temperature;
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    if (!bank.touches(static_cast<std::int64_t>(s))) continue;
    Random random(derive_seed(seed, 900000 + s));
    const auto width = model.sites()[s].out;
    const double bound = 1.0 / std::sqrt(static_cast<double>(width));
    const auto drawn = [&](at::IntArrayRef shape) { return ops::uniform(shape, bound, random); };
    out.sites[static_cast<std::int64_t>(s)] = {drawn({width, width}), drawn({width}), drawn({width, width}),
                                               drawn({width}), at::eye(width, at::kFloat)};
  }
  QUIVER_CHECK(!out.sites.empty(), usage, "fusion", "no expert touches a site");
  return out;
}

Figures train_fusion(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank, routing::Fusion& fusion,
                     const FusionTraining& how, const std::vector<RoutedRow>& train,
                     const std::vector<RoutedRow>& validation) {
  std::vector<ParameterGroup> groups{
      {"fusion", flattened([&](auto visit) { for_each_tensor(fusion, visit); }).set_requires_grad(true),
       training.options.learning_rate}};
  const auto now = [&] { return over(fusion, groups[0].values); };
  groups[0].decays = flat_decays([&](auto visit) { for_each_tensor(fusion, visit); });
  std::unique_ptr<routing::FusionRouter> router;  // lives until the pass that it started is over
  const auto bind = [&](const std::vector<WeightedRow>& rows) {
    router = std::make_unique<routing::FusionRouter>(bank, now());
    return routing::bind_requests(*router, std::vector<routing::Request>(rows.size()));
  };
  const auto distance = [&](const at::Tensor&) {
    at::Tensor sum;
    for (const auto& [number, site] : now().sites) {
      const auto term = (site.value - at::eye(site.value.size(0), at::kFloat)).square().sum();
      sum = sum.defined() ? sum + term : term;
    }
    return sum * how.regularisation;
  };
  RoutedMethod method{bind};
  if (how.regularisation > 0) method.extra_loss = distance;
  const auto figures = train_routed(training, groups, train, validation, method);
  fusion = over(fusion, groups[0].values.detach().clone());
  return figures;
}

}  // namespace quiver::training
