// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/router.h"

#include <numeric>

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
  auto mix = ops::mix_of_rows(batch.tokens(), rows);
  if (mix.empty()) return nullptr;
  return std::make_unique<SharedMix>(std::move(bank), std::move(mix), combine);
}

std::unique_ptr<model::ExpertSource> bind_once(const Router& router, const model::PackedBatch& batch,
                                               const std::vector<Request>& requests) {
  std::vector<std::size_t> numbers(requests.size());
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  return router.start(requests)(batch, numbers);
}

model::BindExperts RequestRouter::start(const std::vector<Request>& requests) const {
  return [bank = bank_, combine = combine_, chosen = choose(requests)](const model::PackedBatch& batch,
                                                                       const std::vector<std::size_t>& numbers) {
    std::vector<std::vector<ops::ExpertWeight>> pairs;
    for (const auto number : numbers) pairs.push_back(chosen.at(number));
    return bind_rows(bank, batch, pairs, combine);
  };
}

}  // namespace quiver::routing
