// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/router_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/ops/random_tensor.h"
#include "quiver/routing/learned/xlora_router.h"

namespace quiver::training {
namespace {

using nlohmann::json;
using routing::SavedRouter;

/// The losses of the gates, gathered while a batch passes.
class WatchedScores : public routing::TokenScores {
 public:
  WatchedScores(const routing::TokenScores& inner, const RouterOptions& options, std::int64_t experts)
      : inner_(inner), options_(options), experts_(experts) {}

  at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const override {
    const auto scores = inner_.at(sites, x);
    if (!c10::GradMode::is_enabled() || (options_.balance == 0 && options_.mutual_information == 0 && options_.z == 0))
      return scores;
    const double temperature =
        options_.mix.temperature > 0 ? options_.mix.temperature : std::sqrt(static_cast<double>(x.size(1)));
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const auto own = scores.narrow(1, static_cast<std::int64_t>(i) * experts_, experts_) / temperature;
      const auto loss = gate_losses(own, options_);
      sum_ = sum_.defined() ? sum_ + loss : loss;
      ++count_;
    }
    return scores;
  }

  /// Mean over the sites since the last call.
  at::Tensor take() const {
    if (!sum_.defined()) return {};
    const auto out = sum_ / static_cast<double>(count_);
    sum_ = at::Tensor();
    count_ = 0;
    return out;
  }

 private:
  const routing::TokenScores& inner_;
  const RouterOptions& options_;
  std::int64_t experts_;
  mutable at::Tensor sum_;
  mutable std::int64_t count_ = 0;
};

struct Rows {
  const std::vector<RoutedRow>& train;
  const std::vector<RoutedRow>& validation;
};

SavedRouter train_gates(const RoutedTraining& t, const std::shared_ptr<const adapter::Bank>& bank,
                        const RouterOptions& o, const Rows& rows) {
  const auto& sites = bank->model_sites();
  const auto weights = routing::fresh_gates(sites, bank->size(), o.gate, derive_seed(t.options.seed, 7));
  std::vector<ParameterGroup> groups;
  for (const auto& [name, values] : weights) groups.push_back({name, values, o.learning_rate});
  routing::DirectionScoreOptions score;
  score.signed_score = true;
  score.input_norm = o.input_norm;
  std::unique_ptr<routing::DirectionScores> scores;
  std::shared_ptr<WatchedScores> watched;
  std::unique_ptr<routing::TokenRouter> router;
  RoutedMethod method;
  if (o.balance != 0 || o.mutual_information != 0 || o.z != 0)
    method.against_recompute = "the losses of the gates' shares are taken from the first pass";
  method.bind = [&](const std::vector<WeightedRow>&) {
    scores = std::make_unique<routing::DirectionScores>(routing::gate_table(sites, bank->size(), o.gate, weights),
                                                        bank->size(), score);
    watched = std::make_shared<WatchedScores>(*scores, o, bank->size());
    router = std::make_unique<routing::TokenRouter>(bank, watched, o.mix);
    return model::BindExperts(
        [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) { return router->bind(batch); });
  };
  method.extra_loss = [&](const at::Tensor&) { return watched->take(); };
  const auto figures = train_routed(t, groups, rows.train, rows.validation, method);
  const c10::AutoGradMode no_gradient(false);
  SavedRouter out;
  out.kind = "gates";
  const auto table = routing::gate_table(sites, bank->size(), o.gate, weights);
  for (std::size_t s = 0; s < sites.size(); ++s)
    out.tensors[sites[s].name] = table.site(static_cast<std::int64_t>(s)).detach();
  out.options = {{"input_norm", static_cast<int>(o.input_norm)},
                 {"top_k", o.mix.top_k},
                 {"temperature", o.mix.temperature},
                 {"share_of_all", o.mix.share_of_all},
                 {"combine", o.mix.combine == ops::Combine::factors ? "factors" : "outputs"}};
  out.training = to_json(figures);
  return out;
}

SavedRouter train_weights(const RoutedTraining& t, const std::shared_ptr<const adapter::Bank>& bank,
                          const RouterOptions& o, const Rows& rows) {
  auto places = o.places;
  const auto start = places.softmax ? 0.0 : 1.0 / static_cast<double>(bank->size());
  places.values = at::full({routing::places(bank->model_sites(), places.granularity), bank->size()}, start, at::kFloat)
                      .set_requires_grad(true);
  std::vector<ParameterGroup> groups{{"weights", places.values, o.learning_rate}};
  const routing::WeightRouter router(bank, places, o.mix.combine);
  const auto bind = [&](const std::vector<WeightedRow>&) {
    return model::BindExperts(
        [&](const model::PackedBatch& batch, const std::vector<std::size_t>&) { return router.bind(batch); });
  };
  const auto figures = train_routed(t, groups, rows.train, rows.validation, {bind});
  SavedRouter out;
  out.kind = "weights";
  out.tensors["weights"] = places.values.detach();
  out.options = {{"granularity", static_cast<int>(places.granularity)},
                 {"softmax", places.softmax},
                 {"combine", o.mix.combine == ops::Combine::factors ? "factors" : "outputs"}};
  out.training = to_json(figures);
  return out;
}

SavedRouter train_xlora(const RoutedTraining& t, const std::shared_ptr<const adapter::Bank>& bank,
                        const RouterOptions& o, const Rows& rows) {
  QUIVER_CHECK(o.depth >= 1, usage, "depth", "{}, expected at least 1", o.depth);
  std::int64_t touched = 0;
  for (std::size_t s = 0; s < bank->model_sites().size(); ++s) touched += bank->touches(static_cast<std::int64_t>(s));
  Random random(derive_seed(t.options.seed, 8));
  routing::XLoraNetwork network;
  network.per_site = o.per_site;
  network.temperature = o.mix.temperature > 0 ? o.mix.temperature : 1.0;
  network.top_k = o.mix.top_k;
  std::vector<ParameterGroup> groups;
  std::int64_t in = t.model.config().hidden;
  for (int i = 0; i < o.depth; ++i) {
    const auto out = i + 1 < o.depth ? o.width : bank->size() * (o.per_site ? touched : 1);
    network.weights.push_back(ops::linear_start(out, in, random).set_requires_grad(true));
    network.biases.push_back(at::zeros({out}, at::kFloat).set_requires_grad(true));
    groups.push_back({fmt::format("layers.{}.weight", i), network.weights.back(), o.learning_rate});
    groups.push_back({fmt::format("layers.{}.bias", i), network.biases.back(), o.learning_rate});
    in = out;
  }
  const routing::XLoraRouter router(bank, t.model, network);
  // An answer behind an encoder goes on from its prompt's first pass.
  const auto bind = [&](const std::vector<WeightedRow>& portion) {
    return routing::bind_requests(router, std::vector<routing::Request>(portion.size()));
  };
  const auto figures = train_routed(t, groups, rows.train, rows.validation, {bind});
  SavedRouter out;
  out.kind = "xlora";
  for (const auto& group : groups) out.tensors[group.name] = group.values.detach();
  out.options = {{"depth", o.depth},           {"per_site", o.per_site},
                 {"softmax", network.softmax}, {"temperature", network.temperature},
                 {"top_k", network.top_k},     {"scaling", network.scaling}};
  out.training = to_json(figures);
  return out;
}

}  // namespace

at::Tensor gate_losses(const at::Tensor& scores, const RouterOptions& o) {
  const auto shares = scores.softmax(1), mean = shares.mean(0);
  const auto entropy = [](const at::Tensor& p) { return -(p * (p + 1e-12).log()).sum(-1); };
  auto loss = at::zeros({}, at::kFloat);
  if (o.balance != 0) {
    const auto best = at::one_hot(scores.detach().argmax(1), scores.size(1)).to(at::kFloat).mean(0);
    loss = loss + o.balance * static_cast<double>(scores.size(1)) * (best * mean).sum();
  }
  if (o.mutual_information != 0) loss = loss + o.mutual_information * (entropy(shares).mean() - entropy(mean));
  if (o.z != 0) loss = loss + o.z * scores.logsumexp({1}).square().mean();
  return loss;
}

SavedRouter train_router(const RoutedTraining& training, std::shared_ptr<const adapter::Bank> bank,
                         const RouterOptions& options, const std::string& name, const std::vector<RoutedRow>& train,
                         const std::vector<RoutedRow>& validation) {
  QUIVER_CHECK(bank->size() > 0, usage, "router " + name, "there are no experts to choose from");
  const Rows rows{train, validation};
  SavedRouter out = options.kind == RouterOptions::Kind::gates     ? train_gates(training, bank, options, rows)
                    : options.kind == RouterOptions::Kind::weights ? train_weights(training, bank, options, rows)
                                                                   : train_xlora(training, bank, options, rows);
  out.name = name;
  out.experts = bank->names();
  return out;
}

}  // namespace quiver::training
