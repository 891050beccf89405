// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation_tune.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/routing/recorder.h"
#include "quiver/routing/router_table.h"
#include "quiver/training/flat.h"
#include "quiver/training/loop.h"
#include "quiver/training/routed_training.h"
#include "quiver/training/trainer.h"

namespace quiver::training {
namespace {

class WeightedSource : public model::ExpertSource {
 public:
  WeightedSource(const WeightedExperts& experts, std::int64_t tokens) : experts_(experts) {
    std::vector<ops::ExpertWeight> pairs;
    for (std::int64_t e = 0; e < experts.bank->size(); ++e) pairs.emplace_back(e, 1.0f);
    all_ = ops::constant_mix(tokens, pairs);
  }

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor&) override {
    std::vector<ops::SiteUse> uses;
    for (const auto& s : sites) {
      if (!experts_.bank->touches(s.site)) continue;
      auto mix = std::make_shared<ops::Mix>(all_);
      // Entries stand by expert, then token.
      mix->weights = experts_.weights.select(0, s.site).unsqueeze(1).expand({-1, mix->tokens}).reshape({-1});
      uses.push_back({&experts_.bank->site(s.site), mix, s.begin, s.count, ops::Combine::outputs, {}});
    }
    return uses;
  }

 private:
  WeightedExperts experts_;
  ops::Mix all_;
};

/// The low-rank factors of a bank's experts, and banks over other values of them.
class BankFactors {
 public:
  explicit BankFactors(const adapter::Bank& bank) : bank_(bank) {
    for (std::int64_t e = 0; e < bank.size(); ++e) experts_.push_back(bank.expert(e));
  }

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& expert : experts_) adapter::for_each_tensor(expert, visit);
  }

  std::shared_ptr<const adapter::Bank> over(const at::Tensor& flat) const {
    auto experts = experts_;
    point_into(flat, [&](auto visit) {
      for (auto& expert : experts) adapter::for_each_tensor(expert, visit);
    });
    auto bank = std::make_shared<adapter::Bank>(bank_.empty_copy());
    for (std::size_t e = 0; e < experts.size(); ++e) bank->add(bank_.names()[e], experts[e]);
    return bank;
  }

 private:
  const adapter::Bank& bank_;
  std::vector<adapter::Adapter> experts_;
};

std::vector<RoutedRow> unlabelled(const std::vector<data::TokenRow>& rows) {
  std::vector<RoutedRow> out;
  for (const auto& row : rows) out.push_back({row, 0});
  return out;
}

}  // namespace

double loss_under(const model::Model& model, const adapter::Adapter& adapter, const std::vector<data::TokenRow>& rows) {
  auto bank = std::make_shared<adapter::Bank>(model);
  bank->add("adapted", adapter);
  return mean_loss(model, bank, 0, rows);
}

adapter::Adapter tuned(const AdaptInputs& inputs, const adapter::Adapter& start, const ExpertData& examples,
                       const TrainOptions& options) {
  ExpertObjective objective(inputs.model, options);
  objective.add({examples.name, examples.tasks, examples.train, {}}, start);
  Loop(objective, options, inputs.progress, "adapt " + examples.name).run();
  return objective.result(0);
}

std::unique_ptr<model::ExpertSource> bind_weighted(const WeightedExperts& experts, const model::PackedBatch& batch) {
  return std::make_unique<WeightedSource>(experts, batch.tokens());
}

WeightedExperts learn_weights(const AdaptInputs& inputs, const ExpertData& examples, const AdaptOptions& options,
                              bool experts_too) {
  const auto& bank = *inputs.bank;
  const auto sites = static_cast<std::int64_t>(bank.model_sites().size());
  auto weights = at::full({sites, bank.size()}, 1.0 / static_cast<double>(bank.size()), at::kFloat);
  std::vector<ParameterGroup> groups{{"weights", weights.set_requires_grad(true), options.weight_learning_rate}};
  const BankFactors factors(bank);
  if (experts_too) {
    const auto visit_all = [&](auto visit) { factors.for_each(visit); };
    groups.push_back({"experts", flattened(visit_all).set_requires_grad(true), options.train.learning_rate});
    groups.back().decays = flat_decays(visit_all);
  }
  const auto current = [&] { return experts_too ? factors.over(groups[1].values) : inputs.bank; };
  const auto bind = [&](const std::vector<WeightedRow>&) {
    return model::BindExperts([now = current(), weights](const model::PackedBatch& batch, const auto&) {
      return bind_weighted({now, weights}, batch);
    });
  };
  train_routed({inputs.model, options.train, inputs.progress, "adapt " + examples.name}, groups,
               unlabelled(examples.train), {}, {bind});
  const c10::AutoGradMode no_gradient(false);
  return {current(), weights.detach()};
}

at::Tensor mean_arrow_weights(const AdaptInputs& inputs, const std::vector<data::TokenRow>& rows) {
  constexpr std::int64_t kPortion_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  routing::RouterInputs routing;
  routing.bank = inputs.bank;
  routing.model = inputs.model;
  routing.progress = &inputs.progress;
  const auto arrow = routing::make_router(routing::parse_route("arrow"), routing);
  std::vector<WeightedRow> all;
  for (const auto& row : rows) all.push_back({&row, 1.0});
  const auto sites = static_cast<std::int64_t>(inputs.model.sites().size());
  auto sum = at::zeros({sites, inputs.bank->size()}, at::kFloat), tokens = at::zeros({sites, 1}, at::kFloat);
  for (const auto& portion : portions(all, kPortion_tokens)) {
    const auto choose = routing::bind_requests(*arrow, std::vector<routing::Request>(portion.size()));
    std::vector<std::unique_ptr<model::ExpertSource>> sources;
    std::vector<const routing::Recorder*> recorders;
    const auto bind = [&](const model::PackedBatch& batch, const std::vector<std::size_t>& requests) {
      sources.push_back(choose(batch, requests));
      auto recorder = std::make_unique<routing::Recorder>(*sources.back());
      recorders.push_back(recorder.get());
      return recorder;
    };
    const auto pass = model::answer_pass(inputs.model, answer_rows(portion), bind);
    for (const auto* recorder : recorders) {
      for (const auto& [site, mix] : recorder->mixes()) {
        sum[site] += ops::dense_weights(*mix, inputs.bank->size()).sum(0);
        tokens[site] += static_cast<double>(mix->tokens);
      }
    }
  }
  return sum / tokens.clamp_min(1.0);
}

}  // namespace quiver::training
