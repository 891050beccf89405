// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/moa_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/routing/described.h"
#include "quiver/routing/prompt_passes.h"
#include "quiver/routing/site_use.h"

namespace quiver::routing {
namespace {

/// Where sites stand among places.
class PlaceFinder {
 public:
  PlaceFinder(const model::Model& model, MoaPlaces places) : model_(model), places_(places) {}
  std::int64_t operator()(const std::vector<model::SiteColumns>& sites) const {
    const auto first = sites.front().site;
    return places_ == MoaPlaces::site ? first : model_.sites()[static_cast<std::size_t>(first)].layer;
  }
  /// The one place that `once` listens at.
  std::int64_t middle() const { return model_.config().prompt_layers() / 2; }
  bool once() const { return places_ == MoaPlaces::once; }

 private:
  model::Model model_;
  MoaPlaces places_;
};

at::Tensor pooled(const at::Tensor& x, const model::PackedBatch& batch, Pooling pooling) {
  std::vector<at::Tensor> rows;
  for (const auto& row : batch.rows) {
    const auto own = x.narrow(0, row.begin, row.count).to(at::kFloat);
    rows.push_back(pooling == Pooling::mean ? own.mean(0) : own[pooling == Pooling::first ? 0 : row.count - 1]);
  }
  return at::stack(rows, 0);
}

using SharedMix = std::shared_ptr<const ops::Mix>;

/// kBase: no pair.
std::vector<ops::ExpertWeight> pairs_of(std::int64_t expert) {
  return expert == MoaRouter::kBase ? std::vector<ops::ExpertWeight>() : std::vector<ops::ExpertWeight>{{expert, 1.0f}};
}

/// Each row under one expert.
SharedMix mix_of(const model::PackedBatch& batch, const std::vector<std::int64_t>& experts) {
  std::vector<ops::RowMix> rows;
  for (std::size_t i = 0; i < experts.size(); ++i)
    rows.push_back({batch.rows[i].begin, batch.rows[i].count, pairs_of(experts[i])});
  return std::make_shared<const ops::Mix>(ops::mix_of_rows(batch.tokens(), rows));
}

std::vector<ops::SiteUse> uses_of(const adapter::Bank& bank, const std::vector<model::SiteColumns>& sites,
                                  const SharedMix& mix, ops::Combine combine) {
  std::vector<ops::SiteUse> uses;
  for (const auto& site : sites) {
    if (!mix->empty() && bank.touches(site.site)) uses.push_back(use_of(bank, site, mix, combine));
  }
  return uses;
}

/// Chooses each row's expert at a place when the pass first comes to it.
class Chooser : public model::ExpertSource {
 public:
  using Choose = std::function<std::vector<std::int64_t>(std::int64_t place, const at::Tensor& states)>;
  Chooser(std::shared_ptr<const adapter::Bank> bank, const model::PackedBatch& batch, PlaceFinder place, MoaShape shape,
          ops::Combine combine, Choose choose)
      : bank_(std::move(bank)),
        batch_(batch),
        place_(place),
        shape_(shape),
        combine_(combine),
        choose_(std::move(choose)) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    const auto place = place_(sites);
    if (place_.once() && place != place_.middle()) return {};
    auto found = chosen_.find(place);
    if (found == chosen_.end())
      found = chosen_.emplace(place, mix_of(batch_, choose_(place, pooled(x, batch_, shape_.pooling)))).first;
    return shape_.forced && !place_.once() ? uses_of(*bank_, sites, found->second, combine_)
                                           : std::vector<ops::SiteUse>{};
  }

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  const model::PackedBatch& batch_;
  PlaceFinder place_;
  MoaShape shape_;
  ops::Combine combine_;
  Choose choose_;
  std::map<std::int64_t, SharedMix> chosen_;  ///< by place
};

/// Applies what was decided, where some row's experts differ from place to place.
class Decided : public model::ExpertSource {
 public:
  Decided(std::shared_ptr<const adapter::Bank> bank, const model::PackedBatch& batch, PlaceFinder place,
          ops::Combine combine, std::vector<std::shared_ptr<MoaRouter::Decision>> rows)
      : bank_(std::move(bank)), batch_(batch), place_(place), combine_(combine), rows_(std::move(rows)) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor&) override {
    auto& mix = mixes_[place_(sites)];
    if (!mix) mix = mix_at(place_(sites));
    return uses_of(*bank_, sites, mix, combine_);
  }

 private:
  SharedMix mix_at(std::int64_t place) const {
    std::vector<std::int64_t> experts;
    for (const auto& row : rows_) {
      const auto found = row->by_place.find(place);
      experts.push_back(found == row->by_place.end() ? row->elsewhere : found->second);
    }
    return mix_of(batch_, experts);
  }

  std::shared_ptr<const adapter::Bank> bank_;
  const model::PackedBatch& batch_;
  PlaceFinder place_;
  ops::Combine combine_;
  std::vector<std::shared_ptr<MoaRouter::Decision>> rows_;
  std::map<std::int64_t, SharedMix> mixes_;  ///< by place
};

/// Runs the prompts in passes; choose(first prompt of the pass) makes what each place is asked.
void run_prompts(const model::Model& model, const std::shared_ptr<const adapter::Bank>& bank, const MoaShape& shape,
                 ops::Combine combine, const std::vector<std::vector<std::int32_t>>& prompts,
                 const std::function<Chooser::Choose(std::size_t first, std::size_t count)>& choose) {
  for_passes(prompts, [&](std::size_t first, const model::PackedBatch& batch) {
    Chooser chooser(bank, batch, PlaceFinder(model, shape.places), shape, combine, choose(first, batch.rows.size()));
    model.forward(batch, &chooser);
  });
}

std::int64_t likeliest(const at::Tensor& log_probabilities, double abstain) {
  const auto best = log_probabilities.argmax().item<std::int64_t>();
  return std::exp(log_probabilities[best].item<double>()) < abstain ? MoaRouter::kBase : best;
}

}  // namespace

void describe(MoaShape& o, OptionSet& set) {
  set.choice("places", o.places, {{"layer", MoaPlaces::layer}, {"site", MoaPlaces::site}, {"once", MoaPlaces::once}},
             "what has a classifier: each layer, each input of linear maps, or the middle layer for all")
      .choice("pooling", o.pooling, {{"last", Pooling::last}, {"mean", Pooling::mean}, {"first", Pooling::first}},
              "which token's state a prompt's is")
      .choice("forcing", o.forced, {{"base", false}, {"expert", true}}, "what prompts run under");
}

void describe(MoaOptions& o, OptionSet& set) {
  set.choice("vote", o.vote,
             {{"own", Vote::own}, {"first", Vote::first}, {"majority", Vote::majority}, {"sum", Vote::sum}},
             "whose choice counts")
      .number("abstain", o.abstain, between(0, 1), "a choice of less probability is the base model's; 0: never");
  describe_combine(set, o.combine);
}

PlaceStates moa_features(const model::Model& model, const std::shared_ptr<const adapter::Bank>& bank,
                         const MoaShape& shape, const std::vector<std::vector<std::int32_t>>& prompts,
                         const std::vector<std::int64_t>& experts) {
  std::map<std::int64_t, std::vector<at::Tensor>> parts;
  run_prompts(model, bank, shape, ops::Combine::outputs, prompts, [&](std::size_t first, std::size_t count) {
    const auto begin = experts.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<std::int64_t> own(begin, begin + static_cast<std::ptrdiff_t>(count));
    return [&parts, own](std::int64_t place, const at::Tensor& states) {
      parts[place].push_back(states);
      return own;
    };
  });
  PlaceStates out;
  for (const auto& [place, own] : parts) out[place] = at::cat(own, 0);
  return out;
}

MoaRouter::MoaRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model, MoaShape shape,
                     Classifiers classifiers, MoaOptions options)
    : bank_(std::move(bank)), model_(model), shape_(shape), classifiers_(std::move(classifiers)), options_(options) {
  bank_->require({"route moa", adapter::kAtSites});
  for (const auto& [place, classifier] : classifiers_)
    QUIVER_CHECK(classifier.biases.back().size(0) == bank_->size(), mismatch, "router",
                 "a classifier of {} experts for a bank of {}", classifier.biases.back().size(0), bank_->size());
}

MoaRouter::Decision decision_of(const std::vector<std::int64_t>& places, const at::Tensor& log_probabilities,
                                const MoaOptions& options) {
  MoaRouter::Decision out;
  const auto together = log_probabilities.mean(0).log_softmax(0);
  out.elsewhere = likeliest(together, options.abstain);
  if (options.vote == Vote::sum) return out;
  if (options.vote == Vote::first) {
    out.elsewhere = likeliest(log_probabilities[0], options.abstain);
  } else if (options.vote == Vote::majority) {
    std::vector<std::int64_t> votes(static_cast<std::size_t>(log_probabilities.size(1)), 0);
    for (std::size_t p = 0; p < places.size(); ++p)
      ++votes[static_cast<std::size_t>(log_probabilities[static_cast<std::int64_t>(p)].argmax().item<std::int64_t>())];
    const auto best = std::max_element(votes.begin(), votes.end());
    const double share = static_cast<double>(*best) / static_cast<double>(places.size());
    out.elsewhere = share < options.abstain ? MoaRouter::kBase : best - votes.begin();
  } else {
    for (std::size_t p = 0; p < places.size(); ++p)
      out.by_place[places[p]] = likeliest(log_probabilities[static_cast<std::int64_t>(p)], options.abstain);
  }
  return out;
}

std::vector<MoaRouter::Decision> MoaRouter::decide(const std::vector<Request>& requests) const {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const auto& request : requests) prompts.push_back(request.prompt);
  std::vector<std::vector<at::Tensor>> rows(requests.size());  // [request][place]: [E]
  std::vector<std::int64_t> places;
  for (const auto& [place, classifier] : classifiers_) places.push_back(place);
  run_prompts(model_, bank_, shape_, options_.combine, prompts, [&](std::size_t first, std::size_t count) {
    return [this, &rows, first, count](std::int64_t place, const at::Tensor& states) {
      std::vector<std::int64_t> chosen(count, kBase);
      const auto found = classifiers_.find(place);
      if (found == classifiers_.end()) return chosen;
      const auto values = log_probabilities(found->second, states);
      for (std::size_t i = 0; i < count; ++i) {
        rows[first + i].push_back(values[static_cast<std::int64_t>(i)]);
        chosen[i] = likeliest(rows[first + i].back(), options_.abstain);
      }
      return chosen;
    };
  });
  std::vector<Decision> out;
  for (const auto& row : rows) {
    QUIVER_CHECK(row.size() == places.size(), mismatch, "router", "{} places had a state to choose by, expected {}",
                 row.size(), places.size());
    out.push_back(decision_of(places, at::stack(row, 0), options_));
  }
  return out;
}

class MoaRouter::MoaSessions : public StateSessions<Decision> {
 public:
  explicit MoaSessions(const MoaRouter& router) : router_(router) {}

 protected:
  std::vector<Decision> start(const std::vector<Request>& requests) override { return router_.decide(requests); }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) override {
    if (std::all_of(states.begin(), states.end(), [](const auto& s) { return s->by_place.empty(); })) {
      std::vector<std::vector<ops::ExpertWeight>> pairs;
      for (const auto& state : states) pairs.push_back(pairs_of(state->elsewhere));
      return bind_rows(router_.bank_, batch, pairs, router_.options_.combine);
    }
    return std::make_unique<Decided>(router_.bank_, batch, PlaceFinder(router_.model_, router_.shape_.places),
                                     router_.options_.combine, states);
  }

 private:
  const MoaRouter& router_;
};

std::unique_ptr<Sessions> MoaRouter::sessions() const { return std::make_unique<MoaSessions>(*this); }

}  // namespace quiver::routing
