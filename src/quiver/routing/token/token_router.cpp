// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/token_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/ops/transformer_ops.h"
#include "quiver/routing/described.h"
#include "quiver/routing/site_use.h"

namespace quiver::routing {

namespace {

const std::vector<std::pair<std::string, Norm>> kNorms{
    {"none", Norm::none}, {"unit", Norm::unit}, {"layer", Norm::layer}};
constexpr const char* kOfTheSoftmax = "of the softmax; sqrt: the root of the site's inputs";

}  // namespace

void describe_input_norm(OptionSet& set, Norm& value) {
  set.choice("input_norm", value, kNorms, "what a token's state is brought to before it is scored");
}

void describe(DirectionScoreOptions& o, OptionSet& set) {
  describe_input_norm(set, o.input_norm);
  set.choice("prototype_norm", o.direction_norm, kNorms, "what an expert's direction is brought to")
      .choice("score", o.signed_score, {{"abs", false}, {"signed", true}}, "the size of x . v, or x . v itself")
      .flag("centred", o.centred, "directions less their mean over the experts");
}

void describe(TokenMixOptions& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a token");
  set.number("top_p", o.top_p, {.low = 0.0, .high = 1.0, .above_low = true},
             "below 1: of these the fewest whose weights reach it together");
  describe_temperature(set, o.temperature, kOfTheSoftmax);
  set.word("sqrt", 0);
  describe_share_of_all(o, set);
  describe_combine(set, o.combine);
}

void describe_share_of_all(TokenMixOptions& o, OptionSet& set) {
  set.flag("share_of_all", o.share_of_all, "weights from a softmax over all experts, not over those kept");
}

void describe_gate_mix(TokenMixOptions& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a token");
  describe_temperature(set, o.temperature, kOfTheSoftmax);
  set.word("sqrt", 0);
  describe_combine(set, o.combine);
}

at::Tensor normalised(const at::Tensor& x, Norm norm) {
  const auto wide = x.to(at::kFloat);
  switch (norm) {
    case Norm::none:
      return wide;
    case Norm::unit:
      return wide / wide.norm(2, {1}, true).clamp_min(1e-12);
    case Norm::layer:
      return at::layer_norm(wide, {wide.size(1)});
  }
  return wide;
}

DirectionScores::DirectionScores(SiteTable table, std::int64_t experts, DirectionScoreOptions options)
    : table_(std::move(table)), experts_(experts), options_(options) {
  QUIVER_CHECK(experts > 0 && table_.rows() % experts == 0, mismatch, "router", "{} directions for {} experts",
               table_.rows(), experts);
  QUIVER_CHECK(!options_.signed_score || table_.rows() == experts, usage, "router",
               "score=signed needs one direction per expert, there are {}", table_.rows() / experts);
  if (options_.direction_norm == Norm::none && !options_.centred) return;
  for (std::size_t s = 0; s < table_.sites(); ++s) {
    const auto rows = table_.site(static_cast<std::int64_t>(s));
    const auto centred = options_.centred ? rows - rows.mean(0, true) : rows;
    rows.copy_(normalised(centred, options_.direction_norm));
  }
}

at::Tensor DirectionScores::at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const {
  // Sites that share x share one GEMM: their directions lie side by side.
  const auto directions = table_.side_by_side(sites);
  const bool trained = directions.requires_grad() && c10::GradMode::is_enabled();
  const auto in = normalised(trained ? x : x.detach(), options_.input_norm);
  auto projections = trained ? at::linear(in, directions) : ops::frozen_linear(in, directions, {});
  if (options_.signed_score) return projections;
  if (table_.rows() == experts_) return trained ? projections.abs() : projections.abs_();
  const auto each = table_.rows() / experts_;
  return projections.view({x.size(0), -1, each}).norm(2, {2});
}

SharedInputScores::SharedInputScores(const adapter::Bank& bank) : experts_(bank.size()) {
  const auto& sites = bank.model_sites();
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto& experts = bank.site(static_cast<std::int64_t>(s)).experts;
    at::Tensor shared;
    std::vector<at::Tensor> roots;
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const auto& f = experts[e];
      QUIVER_CHECK(f.a.defined() || !shared.defined(), usage, "--route seqr", "expert '{}' has nothing at {}",
                   bank.names()[e], sites[s].name);
      if (!f.a.defined()) continue;
      QUIVER_CHECK(!shared.defined() ? e == 0 : f.a.equal(shared), usage, "--route seqr",
                   "expert '{}' has an A of its own at {}; the experts must share A (train --share-a), or use spectr",
                   bank.names()[e], sites[s].name);
      shared = f.a;
      const auto b = f.b.to(at::kDouble);
      const auto [squares, basis] = at::linalg_eigh(at::mm(b.t(), b));
      const auto root = basis.t() * squares.clamp_min(0).sqrt().unsqueeze(1);  // |root z| = |B z|
      roots.push_back((root * f.scale).to(at::kFloat));
    }
    a_.push_back(shared.defined() ? shared.to(at::kFloat) : at::Tensor());
    root_.push_back(roots.empty() ? at::Tensor() : at::cat(roots, 0));
  }
}

at::Tensor SharedInputScores::at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const {
  const auto in = x.detach().to(at::kFloat);
  std::vector<at::Tensor> scores;
  for (const auto& site : sites) {
    const auto s = static_cast<std::size_t>(site.site);
    if (!a_[s].defined()) {
      scores.push_back(at::zeros({x.size(0), experts_}, at::kFloat));
      continue;
    }
    const auto each = a_[s].size(0);
    const auto turned = ops::frozen_linear(ops::frozen_linear(in, a_[s], {}), root_[s], {});
    scores.push_back(turned.view({x.size(0), experts_, each}).norm(2, {2}));
  }
  return at::cat(scores, 1);
}

/// Routes every token of one pass at every site.
class TokenSource : public model::ExpertSource {
 public:
  explicit TokenSource(const TokenRouter& router) : router_(router) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    const auto any = [&](const auto& s) { return router_.any_[static_cast<std::size_t>(s.site)]; };
    if (std::none_of(sites.begin(), sites.end(), any)) return uses;
    const auto& o = router_.options_;
    const auto experts = router_.bank_->size();
    const double temperature = o.temperature > 0 ? o.temperature : std::sqrt(static_cast<double>(x.size(1)));
    const auto scores = router_.scores_->at(sites, x);
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const auto& s = sites[i];
      if (!any(s)) continue;
      auto own = scores.narrow(1, static_cast<std::int64_t>(i) * experts, experts);
      const auto& absent = router_.absent_[static_cast<std::size_t>(s.site)];
      if (absent.defined()) own = own.masked_fill(absent, -std::numeric_limits<float>::infinity());
      auto mix = ops::top_k_mix(own, {o.top_k, temperature, o.top_p, o.share_of_all});
      uses.push_back(use_of(*router_.bank_, s, std::move(mix), o.combine));
    }
    return uses;
  }

 private:
  const TokenRouter& router_;
};

TokenRouter::TokenRouter(std::shared_ptr<const adapter::Bank> bank, std::shared_ptr<const TokenScores> scores,
                         TokenMixOptions options)
    : bank_(std::move(bank)), scores_(std::move(scores)), options_(options) {
  QUIVER_CHECK(bank_->size() > 0, usage, "--route", "the library has no experts");
  bank_->require({options_.by_factors ? "a route by the experts' factors" : "a route by token", adapter::kAtSites,
                  options_.by_factors});
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(bank_->model_sites().size()); ++s) {
    auto absent = at::zeros({bank_->size()}, at::kBool);
    std::int64_t count = 0;
    for (std::int64_t e = 0; e < bank_->size(); ++e) {
      const bool there =
          options_.by_factors ? bank_->site(s).experts[static_cast<std::size_t>(e)].a.defined() : bank_->touches(s, e);
      absent.data_ptr<bool>()[e] = !there;
      count += there;
    }
    any_.push_back(count > 0);
    absent_.push_back(count < bank_->size() ? absent : at::Tensor());
  }
}

std::unique_ptr<model::ExpertSource> TokenRouter::bind(const model::PackedBatch&) const {
  return std::make_unique<TokenSource>(*this);
}

}  // namespace quiver::routing
