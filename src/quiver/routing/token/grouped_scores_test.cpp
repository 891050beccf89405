// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/grouped_scores.h"

#include <ATen/TensorOperators.h>

#include "quiver/base/error.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

class TwoLevels : public WithBank {
 protected:
  /// `experts` directions around `centres` random ones, signs at random.
  SiteTable planted(std::int64_t experts, std::int64_t centres, double noise) const {
    at::manual_seed(4);
    SiteTable table(model_.sites(), experts);
    for (std::size_t s = 0; s < table.sites(); ++s) {
      const auto rows = table.site(static_cast<std::int64_t>(s));
      const auto middle = at::randn({centres, rows.size(1)});
      for (std::int64_t e = 0; e < experts; ++e)
        rows[e].copy_((middle[e % centres] + at::randn({rows.size(1)}) * noise) * (e % 3 == 0 ? -1.0 : 1.0));
    }
    return table;
  }
};

TEST_F(TwoLevels, LookingAtAllGroupsIsExact) {
  const auto table = planted(30, 5, 0.3);
  const auto x = at::randn({7, 32});
  const auto exact = DirectionScores(table, 30, {}).at(first_sites(), x);
  const auto got = GroupedScores(table, 30, model_.sites(), {5, 5}).at(first_sites(), x);
  EXPECT_LT((got - exact).abs().max().item<double>(), 1e-4);
  EXPECT_DOUBLE_EQ(recall(exact, got, 3), 1.0);
}

TEST_F(TwoLevels, AFewGroupsFindTheBestOfExpertsThatLieInGroups) {
  const auto table = planted(240, 16, 0.2);
  // Tokens that lie near some expert, as inputs do that an expert was made for.
  const auto x = table.site(0).narrow(0, 0, 40) + at::randn({40, 32}) * 0.3;
  const auto exact = DirectionScores(table, 240, {}).at({{0, 0, 32}}, x);
  const GroupedScores few(table, 240, model_.sites(), {16, 2});
  const auto got = few.at({{0, 0, 32}}, x);
  EXPECT_GT(recall(exact, got, 3), 0.95);
  EXPECT_LT(got.isfinite().to(at::kFloat).mean().item<double>(), 0.35) << "it looked nearly everywhere";
  EXPECT_LT(recall(exact, GroupedScores(table, 240, model_.sites(), {16, 1}).at({{0, 0, 32}}, at::randn({40, 32})), 40),
            0.9)
      << "a test that nothing can fail";
}

}  // namespace
}  // namespace quiver::routing
