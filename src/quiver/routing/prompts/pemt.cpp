// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompts/pemt.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

/// What the passes over a text share.
struct Text {
  /// By site, without an encoder: g [K] of the pass that read the prompt, for those that go on from its cache.
  std::map<std::int64_t, at::Tensor> gates;
  at::Tensor encoded;  ///< mean of the encoder's final states at the prompt's positions, [D]
};
using Texts = std::vector<std::shared_ptr<Text>>;

/// P^, as the target's options have it.
at::Tensor target_prompt(const Pemt& pemt) {
  return pemt.options.live ? guided_prompt(pemt.prompt, pemt.source_prompts) : pemt.prompt;
}

class PemtSource : public model::ExpertSource {
 public:
  /// prompt: P^.
  PemtSource(const model::Model& model, Pemt pemt, at::Tensor prompt, const model::PackedBatch& batch, Texts texts,
             PemtTrace* trace)
      : model_(model),
        pemt_(std::move(pemt)),
        prompt_(std::move(prompt)),
        batch_(batch),
        texts_(std::move(texts)),
        trace_(trace) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    keep_encoded(sites, x);
    std::vector<ops::SiteUse> uses;
    for (const auto& site : sites) {
      const auto gate = pemt_.gates.find(site.site);
      if (gate == pemt_.gates.end()) continue;
      gates_of_rows_ = gates(gate->second, site.site, x);
      uses.push_back({&pemt_.bank->site(site.site), mix(gates_of_rows_), site.begin, site.count, {}, {}});
    }
    return uses;
  }

  at::Tensor finish(const std::vector<model::SiteColumns>& sites, const at::Tensor& x, at::Tensor y) override {
    if (!trace_ || !pemt_.gates.contains(sites.front().site)) return y;
    trace_->gates[sites.front().site] = gates_of_rows_.detach();
    const auto term = sparsity(sites.front().site, x, y) / static_cast<double>(pemt_.gates.size());
    trace_->sparsity = trace_->sparsity.defined() ? trace_->sparsity + term : term;
    return y;
  }

  at::Tensor norm(std::int64_t number, const at::Tensor& weight) override {
    const auto own = pemt_.bank->norm(pemt_.sources(), number);
    return own.defined() ? own : weight;
  }

 private:
  bool two_stacks() const { return model_.config().encoder_decoder(); }
  bool in_encoder(std::int64_t site) const {
    return two_stacks() && model_.sites()[static_cast<std::size_t>(site)].layer < model_.config().encoder_layers;
  }
  /// True where a site's tokens include the prompt's positions.
  bool sees_prompt(std::int64_t site) const { return !two_stacks() || in_encoder(site); }

  /// [m, width] of row i's positions of the prompt.
  at::Tensor at_prompt(const at::Tensor& x, std::size_t i) const {
    return x.narrow(0, batch_.rows[i].begin, batch_.rows[i].soft);
  }

  /// In a pass over prompts the first map of the decoder reads the encoder's final states.
  void keep_encoded(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) {
    if (!two_stacks() || batch_.part != model::Part::prompt || in_encoder(sites.front().site)) return;
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      auto& own = texts_[i]->encoded;
      if (!own.defined()) own = at_prompt(x, i).mean(0);
    }
  }

  /// g of each row, [N, K].
  at::Tensor gates(const at::Tensor& gate, std::int64_t site, const at::Tensor& x) const {
    if (!two_stacks() && pemt_.options.gate == PemtOptions::Gate::prompt_mean) return task_gates(gate, site, x);
    std::vector<at::Tensor> means;
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      if (pemt_.options.gate == PemtOptions::Gate::correlation) {
        means.push_back(prompt_.mean(0));
      } else {
        means.push_back(in_encoder(site) ? at_prompt(x, i).mean(0) : texts_[i]->encoded);
        QUIVER_CHECK(means.back().defined(), mismatch, "pemt", "an answer came before its prompt");
      }
    }
    return (at::mm(at::stack(means, 0).to(at::kFloat), gate) / pemt_.options.temperature).softmax(1);
  }

  /// Without an encoder: formed where the prompt is read, and kept for passes that go on from its cache.
  at::Tensor task_gates(const at::Tensor& gate, std::int64_t site, const at::Tensor& x) const {
    std::vector<at::Tensor> out;
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      auto& kept = texts_[i]->gates[site];
      if (batch_.rows[i].soft > 0)
        kept = (at::mv(gate.t(), at_prompt(x, i).mean(0).to(at::kFloat)) / pemt_.options.temperature).softmax(0);
      QUIVER_CHECK(kept.defined(), mismatch, "pemt", "a text came before its prompt");
      out.push_back(kept);
    }
    return at::stack(out, 0);
  }

  /// Every token under all sources by its row's gates, and under the target.
  std::shared_ptr<const ops::Mix> mix(const at::Tensor& gates) const {
    auto out = std::make_shared<ops::Mix>();
    out->tokens = batch_.tokens();
    std::vector<at::Tensor> of_rows;
    for (std::size_t i = 0; i < texts_.size(); ++i)
      of_rows.push_back(gates[static_cast<std::int64_t>(i)].unsqueeze(1).expand({-1, batch_.rows[i].count}));
    const auto weights = at::cat(of_rows, 1);  // [K, T]
    out->weights = at::cat({weights.reshape({-1}), at::ones({out->tokens}, weights.options())}, 0);
    for (std::int64_t e = 0; e <= pemt_.sources(); ++e) out->groups.push_back({e, e * out->tokens, out->tokens, 0});
    return out;
  }

  /// sum_k mean over rows of g_k (1 - c_k).
  at::Tensor sparsity(std::int64_t site, const at::Tensor& u, const at::Tensor& z) const {
    constexpr double kLeast = 1e-8;  // of a product of lengths, as in torch's cosine_similarity
    const auto tokens = counted(u, site), states = counted(z, site);
    const auto length = states.to(at::kFloat).square().sum(1);
    std::vector<at::Tensor> cosines;
    for (std::int64_t k = 0; k < pemt_.sources(); ++k) {
      const auto source = expert_at(site, k, tokens);
      const auto into = at::mm(states, source.up);  // z U
      auto product = (into * source.hidden).sum(1).to(at::kFloat);
      auto own = (at::mm(source.hidden, at::mm(source.up.t(), source.up)) * source.hidden).sum(1).to(at::kFloat);
      if (source.bias.defined()) {
        product = product + at::mv(states, source.bias).to(at::kFloat);
        own = own + (at::mv(source.hidden, at::mv(source.up.t(), source.bias)) * 2.0 + source.bias.square().sum());
      }
      cosines.push_back((product / (length * own).clamp_min(kLeast * kLeast).sqrt()).mean());
    }
    return (gates_of_rows_.mean(0) * (1.0 - at::stack(cosines, 0))).sum();
  }

  /// A source's output U h + b at a site, before its scale, which no cosine feels.
  struct SourceOutput {
    at::Tensor hidden, up, bias;  ///< [T, R], [out, R], [out] or undefined
  };
  SourceOutput expert_at(std::int64_t site, std::int64_t k, const at::Tensor& u) const {
    const auto dtype = u.scalar_type();
    const auto& own = pemt_.bank->site(site);
    const auto& f = own.experts[static_cast<std::size_t>(k)];
    if (f.a.defined()) return {at::linear(u, f.a.to(dtype)), f.b.to(dtype), {}};
    const auto& b = own.extras.at(static_cast<std::size_t>(k)).bottleneck;
    QUIVER_CHECK(b && b->reads == ops::Reads::input, unsupported, "pemt",
                 "source {} has neither factors nor a bottleneck beside site {}", k,
                 model_.sites()[static_cast<std::size_t>(site)].name);
    auto hidden = at::linear(u, b->down.to(dtype));
    if (b->down_bias.defined()) hidden = hidden + b->down_bias.to(dtype);
    return {ops::apply(b->nonlinearity, hidden), b->up.to(dtype),
            b->up_bias.defined() ? b->up_bias.to(dtype) : at::Tensor()};
  }

  /// The tokens that sparsity counts.
  at::Tensor counted(const at::Tensor& x, std::int64_t site) const {
    if (!pemt_.options.mask_prompt || !sees_prompt(site)) return x;
    std::vector<at::Tensor> rows;
    for (const auto& row : batch_.rows) rows.push_back(x.narrow(0, row.begin + row.soft, row.count - row.soft));
    return at::cat(rows, 0);
  }

  model::Model model_;
  Pemt pemt_;
  at::Tensor prompt_;
  const model::PackedBatch& batch_;
  Texts texts_;
  PemtTrace* trace_;
  at::Tensor gates_of_rows_;  ///< of the site at hand
};

}  // namespace

at::Tensor guided_prompt(const at::Tensor& prompt, const std::vector<at::Tensor>& source_prompts) {
  auto out = prompt;
  for (const auto& source : source_prompts) out = out + at::mm(at::mm(prompt, source.t()).softmax(1), source);
  return out;
}

model::BindExperts bind_pemt(const model::Model& model, const Pemt& pemt, std::size_t texts, PemtTrace* trace) {
  const auto prompt = target_prompt(pemt);
  Texts all;
  for (std::size_t i = 0; i < texts; ++i) all.push_back(std::make_shared<Text>());
  const auto bind = [model, pemt, prompt, all, trace](const model::PackedBatch& batch,
                                                      const std::vector<std::size_t>& requests) {
    Texts own;
    for (const auto number : requests) own.push_back(all.at(number));
    return std::make_unique<PemtSource>(model, pemt, prompt, batch, std::move(own), trace);
  };
  return {bind, std::vector<at::Tensor>(texts, prompt)};
}

namespace {

class PemtSessions : public StateSessions<Text> {
 public:
  PemtSessions(const model::Model& model, const Pemt& pemt)
      : model_(model), pemt_(pemt), prompt_(target_prompt(pemt)) {}

 protected:
  std::vector<Text> start(const std::vector<Request>& requests) override { return std::vector<Text>(requests.size()); }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) override {
    return std::make_unique<PemtSource>(model_, pemt_, prompt_, batch, states, nullptr);
  }
  at::Tensor prompt_of(const Text&) const override { return prompt_; }

 private:
  model::Model model_;
  const Pemt& pemt_;
  at::Tensor prompt_;
};

}  // namespace

std::unique_ptr<Sessions> pemt_sessions(const model::Model& model, const Pemt& pemt) {
  return std::make_unique<PemtSessions>(model, pemt);
}

namespace {

/// g [K] by site, of a model whose gates no text changes.
std::map<std::int64_t, at::Tensor> gates_of_task(const model::Model& model, const Pemt& pemt) {
  const c10::AutoGradMode no_gradient(false);
  PemtTrace trace;
  const auto bind = bind_pemt(model, pemt, 1, &trace);
  const std::vector<std::int32_t> any{0};
  const auto batch = model::pack({{any, nullptr, true, bind.soft_prompt(0)}});
  const auto source = bind(batch, {0});
  model.forward(batch, source.get());
  std::map<std::int64_t, at::Tensor> out;
  for (const auto& [site, gates] : trace.gates) out[site] = gates[0];
  return out;
}

}  // namespace

adapter::Adapter folded(const model::Model& model, const Pemt& pemt) {
  QUIVER_CHECK(!model.config().encoder_decoder(), unsupported, "pemt",
               "an encoder-decoder's gates depend on the text, and no single adapter does what they do");
  const auto target = static_cast<std::size_t>(pemt.sources());
  adapter::Adapter out;
  for (const auto& [number, gates] : gates_of_task(model, pemt)) {
    const auto& place = model.sites()[static_cast<std::size_t>(number)].name;
    const auto& site = pemt.bank->site(number);
    std::vector<at::Tensor> a, b;
    for (std::size_t k = 0; k < target; ++k) {
      const auto& f = site.experts[k];
      QUIVER_CHECK(f.a.defined(), unsupported, "pemt", "source '{}' has no factors at {}", pemt.bank->names()[k],
                   place);
      a.push_back(f.a);
      b.push_back(f.b * (f.scale * gates[static_cast<std::int64_t>(k)].item<double>()));
    }
    out.sites[place] = {at::cat(a, 0), at::cat(b, 1), 1.0};
    out.options.rank = out.sites[place].a.size(0);
    out.options.alpha = static_cast<double>(out.options.rank);
    if (!site.extras.empty() && !site.extras[target].empty()) out.extras[place] = site.extras[target];
  }
  for (std::size_t n = 0; n < model.norms().size(); ++n) {
    const auto weight = pemt.bank->norm(pemt.sources(), static_cast<std::int64_t>(n));
    if (weight.defined()) out.norms[model.norms()[n].name] = weight;
  }
  out.soft_prompt = target_prompt(pemt);
  adapter::for_each_tensor(out, [](at::Tensor& t) { t = t.detach(); });
  return out;
}

}  // namespace quiver::routing
