// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/constant_router.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

class Oracle : public WithBank {
 protected:
  void SetUp() override {
    inputs_.bank = bank({3, 2, 4});
    inputs_.expert_tasks = {{"cats"}, {"dogs", "cats"}, {"birds"}};
  }
  /// Hidden states of the rows, of these tasks each, under a route.
  at::Tensor hidden(const std::string& route, const std::vector<std::string>& tasks) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<model::RowInput> rows(tasks.size(), {ids_, nullptr, true});
    std::vector<Request> requests;
    for (const auto& task : tasks) requests.push_back({task, ids_});
    const auto batch = model::pack(rows);
    return model_.forward(batch, bind_once(*make_router(parse_route(route), inputs_), batch, requests).get());
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

  RouterInputs inputs_;
  const std::vector<std::int32_t> ids_{3, 9, 27, 31};
};

TEST_F(Oracle, GivesEachRequestTheExpertsOfItsTaskInEqualShares) {
  const auto chosen = OracleRouter(inputs_).choose({{"birds", {}}, {"cats", {}}, {"dogs", {}}, {"birds", {}}});
  using Pairs = std::vector<ops::ExpertWeight>;
  ASSERT_EQ(chosen.size(), 4u);
  EXPECT_EQ(chosen[0], (Pairs{{2, 1.0f}}));
  EXPECT_EQ(chosen[1], (Pairs{{0, 0.5f}, {1, 0.5f}}));
  EXPECT_EQ(chosen[2], (Pairs{{1, 1.0f}}));
  EXPECT_EQ(chosen[3], chosen[0]);
}

TEST_F(Oracle, RowsOfABatchGetWhatTheirExpertsGiveAlone) {
  const auto both = hidden("oracle", {"birds", "cats"});
  // Sums of a row may be formed in another order beside another row: a few roundings of values of order 1.
  EXPECT_LT(distance(both.narrow(0, 0, 4), hidden("expert:e2", {""})), 1e-5);
  EXPECT_LT(distance(both.narrow(0, 4, 4), hidden("mix:e0=0.5,e1=0.5", {""})), 1e-5);
  EXPECT_GT(distance(both.narrow(0, 0, 4), both.narrow(0, 4, 4)), 1e-2) << "the experts must differ";
}

TEST_F(Oracle, ATaskThatNoExpertKnowsIsNamed) {
  try {
    hidden("oracle", {"birds", "fish"});
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("'fish'"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(applies_to_unseen_tasks(parse_route("oracle")));
}

}  // namespace
}  // namespace quiver::routing
