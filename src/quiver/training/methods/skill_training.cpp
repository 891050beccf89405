// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/skill_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sigmoid.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/training/training_source.h"

namespace quiver::training {
namespace {

/// A tensor like `shape` of numbers that `draw` gives.
template <typename Draw>
at::Tensor drawn(const at::Tensor& shape, Draw draw) {
  auto out = at::empty(shape.sizes(), at::kFloat);
  auto* values = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) values[i] = static_cast<float>(draw());
  return out;
}

double logistic(Random& random) {
  const double u = std::clamp(random.uniform(), 1e-7, 1.0 - 1e-7);
  return std::log(u) - std::log1p(-u);
}

void check(const RoutedTraining& training, const SkillTraining& how) {
  QUIVER_CHECK(how.train_selector || how.train_skills, usage, training.title,
               "neither selector nor skills are trained");
  QUIVER_CHECK(how.noise.dropout >= 0 && how.noise.dropout < 1, usage, training.title,
               "selector dropout {}, expected at least 0, below 1", how.noise.dropout);
}

/// Composes and binds batches while the set's tensors train.
class Binder {
 public:
  Binder(const RoutedTraining& training, const routing::SkillSet& set, const SelectorNoise& noise)
      : model_(training.model),
        set_(set),
        noise_(noise),
        seed_(derive_seed(training.options.seed, 2)),
        random_(seed_) {}

  void begin(std::int64_t step) { random_ = Random(derive_seed(seed_, static_cast<std::uint64_t>(step))); }

  model::BindExperts bind(const std::vector<WeightedRow>& portion) {
    const bool training = c10::GradMode::is_enabled();
    std::vector<std::int64_t> tasks;
    for (const auto& row : portion) tasks.push_back(row.label);
    std::sort(tasks.begin(), tasks.end());
    tasks.erase(std::unique(tasks.begin(), tasks.end()), tasks.end());
    const auto logits = set_.logits.index_select(0, at::tensor(tasks, at::kLong));
    const auto use =
        training ? noisy_use(logits, set_.options, noise_, random_) : routing::skill_use(logits, set_.options);
    auto bank = std::make_shared<adapter::Bank>(model_);
    const auto folded = routing::fold(set_, routing::skill_weights(use, set_.options));
    for (std::size_t t = 0; t < tasks.size(); ++t)
      bank->add(set_.tasks.at(static_cast<std::size_t>(tasks[t])), folded[t]);
    std::vector<TrainingRow> rows;
    for (const auto& row : portion)
      rows.push_back({std::lower_bound(tasks.begin(), tasks.end(), row.label) - tasks.begin(), row.seed});
    return bind_training_rows(std::move(bank), rows, training ? set_.lora.dropout : 0.0);
  }

 private:
  model::Model model_;
  const routing::SkillSet& set_;
  SelectorNoise noise_;
  std::uint64_t seed_;
  Random random_;  ///< of the step at hand
};

}  // namespace

at::Tensor noisy_use(const at::Tensor& logits, const routing::SkillOptions& options, const SelectorNoise& noise,
                     Random& random) {
  const bool gates = options.normalisation != routing::SkillOptions::Normalisation::unit;
  auto m = routing::skill_use(logits, options);
  if (gates && noise.relaxed_bernoulli) {
    m = at::sigmoid(logits + drawn(logits, [&] { return logistic(random); }));
  } else if (gates && noise.straight_through) {
    m = m + (m.round() - m).detach();
  }
  if (noise.dropout <= 0.0) return m;
  const double kept = 1.0 - noise.dropout;
  return m * drawn(m, [&] { return random.uniform() < kept ? 1.0 / kept : 0.0; });
}

Figures train_skills(const RoutedTraining& training, routing::SkillSet& set, const SkillTraining& how,
                     const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation) {
  check(training, how);
  std::vector<ParameterGroup> groups;
  set.logits = set.logits.detach().set_requires_grad(how.train_selector);
  set.factors = set.factors.detach().set_requires_grad(how.train_skills);
  if (how.train_selector) groups.push_back({"selector", set.logits, how.selector_learning_rate});
  if (how.train_skills) groups.push_back({"skills", set.factors, how.skill_learning_rate});
  Binder binder(training, set, how.noise);
  RoutedMethod method;
  method.begin = [&](std::int64_t step) { binder.begin(step); };
  method.bind = [&](const std::vector<WeightedRow>& rows) { return binder.bind(rows); };
  const auto figures = train_routed(training, groups, train, validation, method);
  set.logits = set.logits.detach();
  set.factors = set.factors.detach();
  return figures;
}

routing::SkillSet for_new_task(const routing::SkillSet& set, const std::string& task, std::uint64_t seed) {
  auto out = set;
  out.tasks = {task};
  out.factors = set.factors.clone();
  out.logits = routing::fresh_logits(set, 1, seed);
  return out;
}

}  // namespace quiver::training
