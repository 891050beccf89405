// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

/// One mix for all sites; rows keep their pairs for what has no mix of tokens.
class SharedMix : public model::ExpertSource {
 public:
  SharedMix(std::shared_ptr<const adapter::Bank> bank, ops::Mix mix, std::vector<ops::RowMix> rows,
            std::vector<std::int64_t> soft, ops::Combine combine)
      : bank_(std::move(bank)),
        mix_(std::make_shared<const ops::Mix>(std::move(mix))),
        rows_(std::move(rows)),
        soft_(std::move(soft)),
        combine_(combine) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    if (sites[0].site == bank_->block_start(sites[0].site)) block_input_ = x;
    for (const auto& s : sites) {
      if (!bank_->touches(s.site)) continue;
      uses.push_back({&bank_->site(s.site), mix_, s.begin, s.count, combine_, {}});
      if (bank_->reads_block(s.site)) uses.back().block_input = block_input_;
    }
    return uses;
  }

  /// A prefix takes the places of the row's first tokens.
  void keys_values(std::int64_t layer, at::Tensor& keys, at::Tensor& values) override {
    if (!bank_->has_prefixes() || bank_->prefixes_start_answers()) return;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto prefix = soft_[i] > 0 ? bank_->prefix(rows_[i].pairs.at(0).first) : at::Tensor();
      if (!prefix.defined()) continue;
      const auto own = prefix.select(1, layer).to(keys.scalar_type());
      const auto begin = rows_[i].begin, end = begin + prefix.size(0);
      keys = keys.slice_scatter(own.select(1, 0), 0, begin, end);
      values = values.slice_scatter(own.select(1, 1), 0, begin, end);
    }
  }

  at::Tensor before_answer(std::size_t row) override {
    if (!bank_->prefixes_start_answers() || rows_[row].pairs.empty()) return {};
    return bank_->prefix(rows_[row].pairs[0].first);
  }

  /// w + sum_e w_e (g_e - w) for each row.
  at::Tensor norm(std::int64_t number, const at::Tensor& weight) override {
    if (!bank_->touches_norms()) return weight;
    const auto of_row = [&](const ops::RowMix& row) {
      auto out = weight;
      for (const auto& [expert, share] : row.pairs) {
        const auto own = bank_->norm(expert, number);
        if (own.defined()) out = share == 1.0f && row.pairs.size() == 1 ? own : out + (own - weight) * share;
      }
      return out;
    };
    const bool alike =
        std::all_of(rows_.begin(), rows_.end(), [&](const auto& r) { return r.pairs == rows_[0].pairs; });
    if (alike) return of_row(rows_[0]);
    std::vector<at::Tensor> parts;
    for (const auto& row : rows_) parts.push_back(of_row(row).expand({row.count, weight.size(0)}));
    return at::cat(parts, 0);
  }

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  std::shared_ptr<const ops::Mix> mix_;
  std::vector<ops::RowMix> rows_;
  std::vector<std::int64_t> soft_;  ///< first tokens of each row that stand for vectors
  ops::Combine combine_;
  at::Tensor block_input_;
};

}  // namespace

std::unique_ptr<model::ExpertSource> bind_rows(std::shared_ptr<const adapter::Bank> bank,
                                               const model::PackedBatch& batch,
                                               const std::vector<std::vector<ops::ExpertWeight>>& pairs,
                                               ops::Combine combine) {
  QUIVER_CHECK(pairs.size() == batch.rows.size(), mismatch, "router", "{} rows of pairs for a batch of {}",
               pairs.size(), batch.rows.size());
  std::vector<ops::RowMix> rows;
  std::vector<std::int64_t> soft;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    rows.push_back({batch.rows[i].begin, batch.rows[i].count, pairs[i]});
    soft.push_back(batch.rows[i].soft);
  }
  auto mix = ops::mix_of_rows(batch.tokens(), rows);
  if (mix.empty()) return nullptr;
  return std::make_unique<SharedMix>(std::move(bank), std::move(mix), std::move(rows), std::move(soft), combine);
}

model::BindExperts bind_requests(const Router& router, const std::vector<Request>& requests) {
  const auto sessions = std::shared_ptr<Sessions>(router.sessions());
  const auto ids = sessions->open(requests);
  std::vector<at::Tensor> soft;
  for (const auto id : ids) soft.push_back(sessions->soft_prompt(id));
  if (std::none_of(soft.begin(), soft.end(), [](const auto& own) { return own.defined(); })) soft.clear();
  const auto bind = [sessions, ids](const model::PackedBatch& batch, const std::vector<std::size_t>& numbers) {
    std::vector<Sessions::Id> rows;
    for (const auto number : numbers) rows.push_back(ids.at(number));
    return sessions->bind(batch, rows);
  };
  return {bind, std::move(soft)};
}

std::unique_ptr<model::ExpertSource> bind_once(const Router& router, const model::PackedBatch& batch,
                                               const std::vector<Request>& requests) {
  const auto sessions = router.sessions();
  return sessions->bind(batch, sessions->open(requests));
}

namespace {

struct Alike {};

class StatelessSessions : public StateSessions<Alike> {
 public:
  explicit StatelessSessions(const StatelessRouter& router) : router_(router) {}

 protected:
  std::vector<Alike> start(const std::vector<Request>& requests) override {
    return std::vector<Alike>(requests.size());
  }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States&) override {
    return router_.bind(batch);
  }

 private:
  const StatelessRouter& router_;
};

struct Chosen {
  std::vector<ops::ExpertWeight> pairs;
  at::Tensor soft;
};

class RequestSessions : public StateSessions<Chosen> {
 public:
  RequestSessions(const RequestRouter& router, std::shared_ptr<const adapter::Bank> bank, ops::Combine combine)
      : router_(router), bank_(std::move(bank)), combine_(combine) {}

 protected:
  std::vector<Chosen> start(const std::vector<Request>& requests) override {
    auto pairs = router_.choose(requests);
    auto soft = soft_prompts(*bank_, pairs);
    soft.resize(pairs.size());
    std::vector<Chosen> out;
    for (std::size_t i = 0; i < pairs.size(); ++i) out.push_back({std::move(pairs[i]), std::move(soft[i])});
    return out;
  }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) override {
    std::vector<std::vector<ops::ExpertWeight>> pairs;
    for (const auto& state : states) pairs.push_back(state->pairs);
    return bind_rows(bank_, batch, pairs, combine_);
  }
  at::Tensor prompt_of(const Chosen& chosen) const override { return chosen.soft; }

 private:
  const RequestRouter& router_;
  std::shared_ptr<const adapter::Bank> bank_;
  ops::Combine combine_;
};

}  // namespace

std::unique_ptr<Sessions> StatelessRouter::sessions() const { return std::make_unique<StatelessSessions>(*this); }

std::unique_ptr<Sessions> RequestRouter::sessions() const {
  return std::make_unique<RequestSessions>(*this, bank_, combine_);
}

std::vector<at::Tensor> soft_prompts(const adapter::Bank& bank,
                                     const std::vector<std::vector<ops::ExpertWeight>>& pairs) {
  std::vector<at::Tensor> out(pairs.size());
  bool any = false;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    for (const auto& [expert, weight] : pairs[i]) {
      if (!bank.reads_before_prompt(expert)) continue;
      constexpr float kRounding = 1e-3f;
      const auto& name = bank.names()[static_cast<std::size_t>(expert)];
      QUIVER_CHECK(pairs[i].size() == 1 && std::abs(weight - 1.0f) < kRounding, unsupported, "expert " + name,
                   "what it has before the prompt ({}) is read whole and by itself, came a weight of {:.3g} beside {} "
                   "other experts; use --route expert:{}, or leave it out with --experts",
                   fmt::join(bank.kinds(expert), ", "), weight, pairs[i].size() - 1, name);
      out[i] = bank.soft_prompt(expert);
      any = true;
    }
  }
  return any ? out : std::vector<at::Tensor>{};
}

}  // namespace quiver::routing
