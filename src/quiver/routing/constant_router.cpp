// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/constant_router.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::routing {
namespace {

/// One mix for all sites.
class SharedMix : public model::ExpertSource {
 public:
  SharedMix(std::shared_ptr<const adapter::Bank> bank, ops::Mix mix, ops::Combine combine)
      : bank_(std::move(bank)), mix_(std::make_shared<const ops::Mix>(std::move(mix))), combine_(combine) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor&) override {
    std::vector<ops::SiteUse> uses;
    for (const auto& s : sites) {
      if (bank_->touches(s.site)) uses.push_back({&bank_->site(s.site), mix_, s.begin, s.count, combine_, {}});
    }
    return uses;
  }

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  std::shared_ptr<const ops::Mix> mix_;
  ops::Combine combine_;
};

}  // namespace

std::unique_ptr<model::ExpertSource> bind_rows(std::shared_ptr<const adapter::Bank> bank,
                                               const model::PackedBatch& batch,
                                               const std::vector<std::vector<ops::ExpertWeight>>& pairs,
                                               ops::Combine combine) {
  QUIVER_CHECK(pairs.size() == batch.rows.size(), mismatch, "router", "{} rows of pairs for a batch of {}",
               pairs.size(), batch.rows.size());
  std::vector<ops::RowMix> rows;
  for (std::size_t i = 0; i < pairs.size(); ++i) rows.push_back({batch.rows[i].begin, batch.rows[i].count, pairs[i]});
  return std::make_unique<SharedMix>(std::move(bank), ops::mix_of_rows(batch.tokens(), rows), combine);
}

std::unique_ptr<model::ExpertSource> ConstantRouter::bind(const model::PackedBatch& batch,
                                                          const std::vector<std::string>&) const {
  if (pairs_.empty()) return nullptr;
  return std::make_unique<SharedMix>(bank_, ops::constant_mix(batch.tokens(), pairs_), combine_);
}

std::unique_ptr<model::ExpertSource> OracleRouter::bind(const model::PackedBatch& batch,
                                                        const std::vector<std::string>& row_tasks) const {
  std::vector<std::vector<ops::ExpertWeight>> pairs;
  for (const auto& task : row_tasks) {
    std::vector<ops::ExpertWeight> own;
    for (std::size_t e = 0; e < inputs_.expert_tasks.size(); ++e) {
      const auto& tasks = inputs_.expert_tasks[e];
      if (std::find(tasks.begin(), tasks.end(), task) != tasks.end())
        own.emplace_back(static_cast<std::int64_t>(e), 1.0f);
    }
    QUIVER_CHECK(!own.empty(), usage, "--route oracle", "no expert was trained on task '{}'", task);
    for (auto& [expert, weight] : own) weight = 1.0f / static_cast<float>(own.size());
    pairs.push_back(std::move(own));
  }
  return bind_rows(inputs_.bank, batch, pairs);
}

}  // namespace quiver::routing
