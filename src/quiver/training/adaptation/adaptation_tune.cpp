// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation_tune.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/recorder.h"
#include "quiver/routing/router_table.h"
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

/// All factors of a bank in one flat tensor, and banks over pieces of such a tensor.
class FlatBank {
 public:
  explicit FlatBank(const adapter::Bank& shape) : shape_(shape) {}

  at::Tensor flat() const {
    std::vector<at::Tensor> all;
    for_each([&](const ops::LoraFactors& f, std::int64_t, const std::string&) {
      all.push_back(f.a.detach().to(at::kFloat).reshape({-1}));
      all.push_back(f.b.detach().to(at::kFloat).reshape({-1}));
    });
    return at::cat(all);
  }

  std::shared_ptr<const adapter::Bank> over(const at::Tensor& flat) const {
    std::vector<std::int64_t> sizes;
    for_each([&](const ops::LoraFactors& f, std::int64_t, const std::string&) {
      sizes.push_back(f.a.numel());
      sizes.push_back(f.b.numel());
    });
    const auto pieces = flat.split_with_sizes(sizes);
    std::vector<adapter::Adapter> adapters(static_cast<std::size_t>(shape_.size()));
    std::size_t next = 0;
    for_each([&](const ops::LoraFactors& f, std::int64_t e, const std::string& site) {
      adapters[static_cast<std::size_t>(e)].sites[site] = {pieces[next].view(f.a.sizes()),
                                                           pieces[next + 1].view(f.b.sizes()), f.scale};
      next += 2;
    });
    auto bank = std::make_shared<adapter::Bank>(shape_.empty_copy());
    for (std::size_t e = 0; e < adapters.size(); ++e) bank->add(shape_.names()[e], adapters[e]);
    return bank;
  }

 private:
  template <typename Visit>
  void for_each(Visit visit) const {
    for (std::int64_t e = 0; e < shape_.size(); ++e) {
      for (std::size_t s = 0; s < shape_.model_sites().size(); ++s) {
        const auto& f = shape_.site(static_cast<std::int64_t>(s)).experts[static_cast<std::size_t>(e)];
        if (f.a.defined()) visit(f, e, shape_.model_sites()[s].name);
      }
    }
  }

  const adapter::Bank& shape_;
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
  QUIVER_CHECK(bank.size() > 0, usage, "adaptation", "the library has no experts to weigh");
  const auto sites = static_cast<std::int64_t>(bank.model_sites().size());
  auto weights = at::full({sites, bank.size()}, 1.0 / static_cast<double>(bank.size()), at::kFloat);
  std::vector<ParameterGroup> groups{{"weights", weights.set_requires_grad(true), options.weight_learning_rate}};
  const FlatBank shape(bank);
  if (experts_too) {
    groups.push_back({"experts", shape.flat().set_requires_grad(true), options.train.learning_rate});
    groups.back().decays = at::ones_like(groups.back().values, at::kBool);
  }
  const auto current = [&] { return experts_too ? shape.over(groups[1].values) : inputs.bank; };
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
