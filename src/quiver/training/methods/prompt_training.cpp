// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/prompt_training.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <numbers>

#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/ops/random_tensor.h"

namespace quiver::training {
namespace {

ParameterGroup group(std::string name, const at::Tensor& start, double rate) {
  return {std::move(name), start.detach().clone().set_requires_grad(true), rate};
}

std::span<const std::int32_t> text_of(const data::TokenRow& row) {
  return std::span<const std::int32_t>(row.ids).first(static_cast<std::size_t>(row.target_begin));
}

}  // namespace

routing::Attempt start_attempt(const adapter::Bank& sources, const AttemptTraining& how, std::uint64_t seed) {
  sources.require({"train --method attempt", {adapter::Trait::vectors}, false, "choose other --set sources"});
  std::vector<at::Tensor> prompts;
  for (std::int64_t k = 0; k < sources.size(); ++k) {
    const auto& prompt = sources.soft_prompt(k);
    QUIVER_CHECK(prompt.defined(), usage, "attempt", "source '{}' has no prompt",
                 sources.names()[static_cast<std::size_t>(k)]);
    QUIVER_CHECK(prompts.empty() || prompt.size(0) == prompts[0].size(0), usage, "attempt",
                 "source '{}' has {} vectors, the first one {}", sources.names()[static_cast<std::size_t>(k)],
                 prompt.size(0), prompts[0].size(0));
    prompts.push_back(prompt.detach().to(at::kFloat));
  }
  QUIVER_CHECK(!prompts.empty() && how.width >= 1, usage, "attempt",
               "{} sources and a width of {}, expected at least 1 of each", prompts.size(), how.width);
  const auto width = prompts[0].size(1);
  Random random(derive_seed(seed, 700000));
  routing::Attempt out;
  out.sources = at::stack(prompts, 0);
  out.prompt = prompts[0].clone();
  out.down = ops::linear_start(how.width, width, random);
  out.up = ops::linear_start(width, how.width, random);
  out.norm_weight = at::ones({width}, at::kFloat);
  out.norm_bias = at::zeros({width}, at::kFloat);
  out.temperature = how.temperature > 0 ? how.temperature : static_cast<double>(width) * std::numbers::e;
  return out;
}

Figures train_attempt(const RoutedTraining& training, routing::Attempt& attempt, const AttemptTraining& how,
                      const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation) {
  const double rate = training.options.learning_rate;
  const double attention = how.attention_learning_rate > 0 ? how.attention_learning_rate : rate;
  std::vector<ParameterGroup> groups{group("prompt", attempt.prompt, rate), group("down", attempt.down, attention),
                                     group("up", attempt.up, attention)};
  if (how.norm) {
    groups.push_back(group("norm.weight", attempt.norm_weight, attention));
    groups.push_back(group("norm.bias", attempt.norm_bias, attention));
  }
  const auto now = [&] {
    auto out = attempt;
    out.prompt = groups[0].values;
    out.down = groups[1].values;
    out.up = groups[2].values;
    if (!how.norm) return out;
    out.norm_weight = groups[3].values;
    out.norm_bias = groups[4].values;
    return out;
  };
  const auto bind = [&](const std::vector<WeightedRow>& rows) {
    std::vector<at::Tensor> prompts;
    for (const auto& row : rows)
      prompts.push_back(routing::attempt_prompt(now(), training.model.embedding(), text_of(*row.row)));
    return model::prompts_alone(std::move(prompts));
  };
  const auto figures = train_routed(training, groups, train, validation, {bind});
  attempt = now();
  for (auto* t : {&attempt.prompt, &attempt.down, &attempt.up, &attempt.norm_weight, &attempt.norm_bias})
    *t = t->detach();
  return figures;
}

Figures train_task_prompts(const RoutedTraining& training, adapter::Adapter& prompts,
                           const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation) {
  const double rate = training.options.learning_rate;
  std::vector<ParameterGroup> groups{group("prompt", prompts.soft_prompt, rate),
                                     group("columns", prompts.stored_at("", adapter::kTaskColumns), rate),
                                     group("rows", prompts.stored_at("", adapter::kTaskRows), rate)};
  const auto now = [&] {
    auto out = prompts;
    out.soft_prompt = groups[0].values;
    out.stored[""][adapter::kTaskColumns] = groups[1].values;
    out.stored[""][adapter::kTaskRows] = groups[2].values;
    return out;
  };
  const auto bind = [&](const std::vector<WeightedRow>& rows) {
    const auto all = now();
    std::vector<at::Tensor> own;
    for (const auto& row : rows) own.push_back(adapter::task_prompt(all, row.label, training.title));
    return model::prompts_alone(std::move(own));
  };
  const auto figures = train_routed(training, groups, train, validation, {bind});
  prompts = now();
  adapter::for_each_tensor(prompts, [](at::Tensor& t) { t = t.detach(); });
  return figures;
}

}  // namespace quiver::training
