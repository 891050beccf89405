// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/training_source.h"

#include "quiver/base/random.h"
#include "quiver/routing/router.h"

namespace quiver::training {
namespace {

/// Adds dropout to what another source says.
class WithDropout : public model::PassingOn {
 public:
  WithDropout(std::unique_ptr<model::ExpertSource> source, double probability, std::vector<std::uint64_t> token_seeds)
      : PassingOn(source.get()),
        source_(std::move(source)),
        probability_(probability),
        token_seeds_(std::make_shared<const std::vector<std::uint64_t>>(std::move(token_seeds))) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    auto uses = PassingOn::at(sites, x);
    for (auto& use : uses) {
      for (const auto& site : sites) {
        if (site.begin == use.out_begin)
          use.dropout = {probability_, token_seeds_, derive_seed(0, static_cast<std::uint64_t>(site.site))};
      }
    }
    return uses;
  }

 private:
  std::unique_ptr<model::ExpertSource> source_;
  double probability_;
  std::shared_ptr<const std::vector<std::uint64_t>> token_seeds_;
};

}  // namespace

model::BindExperts bind_training_rows(std::shared_ptr<const adapter::Bank> bank, std::vector<TrainingRow> rows,
                                      double dropout) {
  std::vector<std::vector<ops::ExpertWeight>> pairs;
  for (const auto& row : rows) pairs.push_back({{row.expert, 1.0f}});
  bank = adapter::Bank::renewed(bank);
  auto soft = routing::soft_prompts(*bank, pairs);
  const auto bind = [bank, pairs, rows = std::move(rows), dropout](
                        const model::PackedBatch& batch,
                        const std::vector<std::size_t>&) -> std::unique_ptr<model::ExpertSource> {
    auto source = routing::bind_rows(bank, batch, pairs);
    if (dropout <= 0.0) return source;
    std::vector<std::uint64_t> token_seeds;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::int64_t t = 0; t < batch.rows[i].count; ++t)
        token_seeds.push_back(derive_seed(rows[i].seed, static_cast<std::uint64_t>(t)));
    }
    return std::make_unique<WithDropout>(std::move(source), dropout, std::move(token_seeds));
  };
  return {bind, std::move(soft)};
}

}  // namespace quiver::training
