// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/pemt_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include "quiver/adapter/kinds.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/model/answer_pass.h"
#include "quiver/training/flat.h"
#include "quiver/training/row_loss.h"

namespace quiver::training {
namespace {

constexpr const char* kTarget = "target";

/// What is trained, apart from what it stands in.
struct Target {
  at::Tensor prompt;
  std::map<std::int64_t, at::Tensor> gates;
  adapter::Adapter adapter;

  void for_each(const std::function<void(at::Tensor&)>& visit) {
    visit(prompt);
    for (auto& [site, gate] : gates) visit(gate);
    adapter::for_each_tensor(adapter, visit);
  }
};

/// The sources of a bank, and a target after them.
class Assembly {
 public:
  Assembly(const model::Model& model, const routing::Pemt& pemt) : model_(model), pemt_(pemt) {
    for (std::int64_t k = 0; k < pemt.sources(); ++k) sources_.push_back(pemt.bank->expert(k));
  }

  Target target() const { return {pemt_.prompt, pemt_.gates, pemt_.bank->expert(pemt_.sources())}; }
  routing::Pemt with(const Target& target) const {
    auto out = pemt_;
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (std::size_t k = 0; k < sources_.size(); ++k) bank->add(pemt_.bank->names()[k], sources_[k]);
    bank->add(kTarget, target.adapter);
    out.bank = std::move(bank);
    out.prompt = target.prompt;
    out.gates = target.gates;
    return out;
  }

 private:
  model::Model model_;
  routing::Pemt pemt_;
  std::vector<adapter::Adapter> sources_;
};

at::Tensor flat_of(Target target) {
  return flattened([&](auto visit) { target.for_each(visit); });
}

Target over(Target shape, const at::Tensor& flat) {
  point_into(flat, [&](auto visit) { shape.for_each(visit); });
  return shape;
}

at::Tensor start_prompt(const model::Model& model, const PemtTraining& how, Random& random) {
  auto ids = how.prompt_ids;
  while (how.prompt_ids.empty() && static_cast<std::int64_t>(ids.size()) < how.prompt_tokens)
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(model.config().vocabulary))));
  auto out = at::empty({static_cast<std::int64_t>(ids.size()), model.config().hidden}, at::kFloat);
  for (std::size_t i = 0; i < ids.size(); ++i) out[static_cast<std::int64_t>(i)].copy_(model.embedding()[ids[i]]);
  return out;
}

/// A source without its prompt, which the target's prompt attends to instead of reading it.
adapter::Adapter at_sites_alone(adapter::Adapter source) {
  source.soft_prompt = at::Tensor();
  return source;
}

}  // namespace

routing::Pemt start_pemt(const model::Model& model, const adapter::Bank& sources, const PemtTraining& how,
                         std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(sources.size());
  QUIVER_CHECK(count >= 1 && how.width >= 1 && how.prompt_tokens >= 1, usage, "pemt",
               "{} sources, bottlenecks of width {} and {} vectors, expected at least 1 of each", count, how.width,
               how.prompt_tokens);
  sources.require({"train --method pemt",
                   {adapter::Trait::low_rank, adapter::Trait::bottleneck, adapter::Trait::vectors},
                   false,
                   "choose other --set sources"});
  Random random(derive_seed(seed, 300000));
  routing::Pemt out;
  out.options = how.options;
  Target target;
  adapter::KindOptions kinds;
  kinds.kinds = {"bottleneck"};
  if (how.layer_norms) kinds.kinds.insert("norms");
  kinds.width = how.width;
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    const auto& site = model.sites()[s];
    bool all = true;
    for (std::size_t k = 0; k < count; ++k)
      all = all && sources.touches(static_cast<std::int64_t>(s), static_cast<std::int64_t>(k));
    if (!all) continue;
    kinds.targets.push_back(site.name);
    const bool reads_site = how.options.gate == routing::PemtOptions::Gate::prompt_mean &&
                            (!model.config().encoder_decoder() || site.layer < model.config().encoder_layers);
    target.gates[static_cast<std::int64_t>(s)] =
        at::zeros({reads_site ? site.in : model.config().hidden, sources.size()}, at::kFloat);
  }
  QUIVER_CHECK(!target.gates.empty(), unsupported, "pemt", "no site is touched by every source ({})",
               fmt::join(sources.names(), ", "));
  target.adapter = adapter::make_adapter(model, {}, kinds, seed);
  target.prompt = start_prompt(model, how, random);
  auto bank = std::make_shared<adapter::Bank>(model);
  for (std::size_t k = 0; k < count; ++k) {
    const auto number = static_cast<std::int64_t>(k);
    bank->add(sources.names()[k], at_sites_alone(sources.expert(number)));
    if (sources.soft_prompt(number).defined()) out.source_prompts.push_back(sources.soft_prompt(number));
  }
  bank->add(kTarget, target.adapter);
  // Without `live` the target's prompt starts as what the sources' make of it, and is trained from there.
  if (!how.options.live) target.prompt = routing::guided_prompt(target.prompt, out.source_prompts);
  out.bank = std::move(bank);
  out.prompt = target.prompt;
  out.gates = target.gates;
  return out;
}

Figures train_pemt(const RoutedTraining& training, routing::Pemt& pemt, const PemtTraining& how,
                   const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation) {
  const Assembly assembly(training.model, pemt);
  const auto shape = assembly.target();
  std::vector<ParameterGroup> groups{
      {"target", flat_of(shape).set_requires_grad(true), training.options.learning_rate}};
  groups[0].decays = flat_decays([decayed = shape](auto visit) mutable { decayed.for_each(visit); });
  routing::PemtTrace trace;
  RoutedMethod method;
  if (how.sparsity_weight > 0) method.against_recompute = "the sparsity of the gates is taken from the first pass";
  method.bind = [&](const std::vector<WeightedRow>& rows) {
    trace = {};
    const auto now = assembly.with(over(shape, groups[0].values));
    return routing::bind_pemt(training.model, now, rows.size(), how.sparsity_weight > 0 ? &trace : nullptr);
  };
  method.extra_loss = [&](const at::Tensor&) {
    return trace.sparsity.defined() ? trace.sparsity * how.sparsity_weight : at::Tensor();
  };
  const auto figures = train_routed(training, groups, train, validation, method);
  pemt = assembly.with(over(shape, groups[0].values.detach().clone()));
  return figures;
}

std::map<std::int64_t, at::Tensor> mean_gates(const model::Model& model, const routing::Pemt& pemt,
                                              const std::vector<RoutedRow>& rows) {
  constexpr std::int64_t kPortion_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  std::vector<WeightedRow> weighted;
  for (const auto& row : rows) weighted.push_back({&row.row, 1.0});
  std::map<std::int64_t, at::Tensor> out;
  for (const auto& portion : portions(weighted, kPortion_tokens)) {
    routing::PemtTrace trace;
    model::answer_pass(model, answer_rows(portion), routing::bind_pemt(model, pemt, portion.size(), &trace));
    for (const auto& [site, gates] : trace.gates) {
      const auto sum = gates.sum(0) / static_cast<double>(rows.size());
      auto& own = out[site];
      own = own.defined() ? own + sum : sum;
    }
  }
  return out;
}

}  // namespace quiver::training
