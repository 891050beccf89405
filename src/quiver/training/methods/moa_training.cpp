// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/moa_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/adapter/bank.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/model/answer_pass.h"
#include "quiver/routing/site_use.h"
#include "quiver/training/flat.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver::training {
namespace {

using routing::MoaPlaces;
using routing::Pooling;

/// The pooled states that a pass shows, [N, F] by place.
using Seen = routing::PlaceStates;

/// Keeps what each place reads of the rows' prompts.
class Listening : public model::PassingOn {
 public:
  Listening(std::unique_ptr<model::ExpertSource> source, const model::Model& model, const model::PackedBatch& batch,
            const routing::MoaShape& shape, std::vector<std::int64_t> prompts, Seen& seen)
      : PassingOn(source.get()),
        source_(std::move(source)),
        model_(model),
        batch_(batch),
        shape_(shape),
        prompts_(std::move(prompts)),
        seen_(seen) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    const auto first = sites.front().site;
    const auto place = shape_.places == MoaPlaces::site ? first : model_.sites()[static_cast<std::size_t>(first)].layer;
    if (!seen_.contains(place)) seen_[place] = pooled(x);
    return PassingOn::at(sites, x);
  }

 private:
  at::Tensor pooled(const at::Tensor& x) const {
    std::vector<at::Tensor> rows;
    for (std::size_t i = 0; i < prompts_.size(); ++i) {
      const auto& row = batch_.rows[i];
      const auto own = x.narrow(0, row.begin + row.soft, prompts_[i]).to(at::kFloat);
      rows.push_back(shape_.pooling == Pooling::mean ? own.mean(0)
                                                     : own[shape_.pooling == Pooling::first ? 0 : prompts_[i] - 1]);
    }
    return at::stack(rows, 0);
  }

  std::unique_ptr<model::ExpertSource> source_;
  model::Model model_;
  const model::PackedBatch& batch_;
  routing::MoaShape shape_;
  std::vector<std::int64_t> prompts_;  ///< tokens of each row's prompt
  Seen& seen_;
};

/// Experts, then each place's classifier [E, F + 1], the bias last, as groups that train each for itself.
class Weights {
 public:
  Weights(const std::vector<adapter::Adapter>& experts, const MoaTraining& how, double learning_rate)
      : shapes_(experts), how_(how) {
    for (std::size_t e = 0; e < experts.size(); ++e) {
      groups.push_back({fmt::format("expert {}", e), flattened(experts[e]).set_requires_grad(true), learning_rate});
      groups.back().decays = flat_decays(experts[e]);
    }
  }

  /// A place that a pass found.
  void add_place(std::int64_t place, std::int64_t width) {
    places_.push_back(place);
    const auto count = static_cast<std::int64_t>(shapes_.size());
    groups.push_back({fmt::format("place {}", place), at::zeros({count, width + 1}, at::kFloat).set_requires_grad(true),
                      how_.classifier_learning_rate});
  }
  std::shared_ptr<adapter::Bank> bank(const model::Model& model) const {
    auto out = std::make_shared<adapter::Bank>(model);
    for (std::size_t e = 0; e < shapes_.size(); ++e) out->add(groups[e].name, viewed(shapes_[e], groups[e].values));
    return out;
  }
  /// Mean cross-entropy over places and rows.
  at::Tensor loss(const Seen& seen, const at::Tensor& labels) const {
    at::Tensor sum;
    for (std::size_t p = 0; p < places_.size(); ++p) {
      const auto& weight = groups[shapes_.size() + p].values;
      const auto& states = seen.at(places_[p]);
      const auto scores = at::linear(states, weight.narrow(1, 0, states.size(1)), weight.select(1, states.size(1)));
      const auto term = at::cross_entropy_loss(scores, labels);
      sum = sum.defined() ? sum + term : term;
    }
    return sum / static_cast<double>(places_.size());
  }
  std::vector<adapter::Adapter> experts() const {
    std::vector<adapter::Adapter> out;
    for (std::size_t e = 0; e < shapes_.size(); ++e)
      out.push_back(viewed(shapes_[e], groups[e].values.detach().clone()));
    return out;
  }
  routing::Classifiers classifiers() const {
    routing::Classifiers out;
    for (std::size_t p = 0; p < places_.size(); ++p) {
      const auto weight = groups[shapes_.size() + p].values.detach();
      const auto width = weight.size(1) - 1;
      out[places_[p]] = {at::zeros({width}, at::kFloat),
                         at::ones({width}, at::kFloat),
                         {weight.narrow(1, 0, width).contiguous()},
                         {weight.select(1, width).contiguous()}};
    }
    return out;
  }

  std::vector<ParameterGroup> groups;

 private:
  std::vector<adapter::Adapter> shapes_;
  MoaTraining how_;
  std::vector<std::int64_t> places_;
};

}  // namespace

Figures train_moa(const RoutedTraining& t, std::vector<adapter::Adapter>& experts, routing::Classifiers& classifiers,
                  const MoaTraining& how, const std::vector<RoutedRow>& train,
                  const std::vector<RoutedRow>& validation) {
  QUIVER_CHECK(how.shape.places != MoaPlaces::once, unsupported, "moa", "places=once is fitted, not trained");
  QUIVER_CHECK(!train.empty() && !experts.empty() && how.eta >= 0, usage, "moa",
               "{} rows, {} experts and an eta of {}, expected at least 1, 1 and 0", train.size(), experts.size(),
               how.eta);
  Weights weights(experts, how, t.options.learning_rate);
  // Before an hour of training what the router would refuse after it.
  const auto bank = weights.bank(t.model);
  bank->require({"train --method moa", adapter::kAtSites, false, "choose another --kind"});
  Seen seen;
  at::Tensor domains;
  RoutedMethod method;
  method.against_recompute = "the classifiers' states are taken from the first pass";
  method.bind = [&](const std::vector<WeightedRow>& portion) {
    seen.clear();
    std::vector<TrainingRow> rows;
    std::vector<std::int64_t> labels, prompts;
    for (const auto& row : portion) {
      rows.push_back({row.label, row.seed});
      labels.push_back(row.label);
      prompts.push_back(row.row->target_begin);
    }
    domains = at::tensor(labels, at::kLong);
    const double dropout = c10::GradMode::is_enabled() ? t.options.lora.dropout : 0.0;
    auto bind = bind_training_rows(weights.bank(t.model), std::move(rows), dropout);
    auto soft = bind.soft_prompts();
    return model::BindExperts(
        [&, bind, prompts](const model::PackedBatch& batch,
                           const std::vector<std::size_t>& requests) -> std::unique_ptr<model::ExpertSource> {
          auto source = bind(batch, requests);
          if (batch.part != model::Part::prompt) return source;
          return std::make_unique<Listening>(std::move(source), t.model, batch, how.shape, prompts, seen);
        },
        std::move(soft));
  };
  {
    // One row tells where there are places.
    const c10::AutoGradMode no_gradient(false);
    const std::vector<WeightedRow> one{{&train[0].row, 1.0, train[0].label}};
    model::answer_pass(t.model, answer_rows(one), method.bind(one));
    for (const auto& [place, states] : seen) weights.add_place(place, states.size(1));
  }
  if (how.eta > 0) method.extra_loss = [&](const at::Tensor&) { return weights.loss(seen, domains) * how.eta; };
  const auto figures = train_routed(t, weights.groups, train, validation, method);
  experts = weights.experts();
  classifiers = weights.classifiers();
  return figures;
}

}  // namespace quiver::training
