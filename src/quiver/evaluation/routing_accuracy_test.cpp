// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/routing_accuracy.h"

#include <c10/core/GradMode.h>

#include "quiver/routing/constant_router.h"
#include "quiver/routing/test_bank.h"

namespace quiver::evaluation {
namespace {

class RoutingAccuracyOf : public routing::WithBank {
 protected:
  /// Of one prompt of three tokens under constant pairs.
  std::vector<double> measured(const std::vector<ops::ExpertWeight>& pairs, std::vector<float> right,
                               model::Part part) {
    const c10::AutoGradMode no_gradient(false);
    const routing::ConstantRouter router(bank({2, 2, 2}), pairs);
    RoutingAccuracy accuracy(model_, std::move(right));
    const std::vector<std::int32_t> ids{3, 9, 27};
    const auto bind = accuracy.listen(routing::bind_requests(router, {{"", ids}}), 1);
    const auto batch = model::pack({{ids, nullptr, true}}, part);
    model_.forward(batch, bind(batch, {0}).get());
    auto out = accuracy.by_layer();
    out.push_back(accuracy.of_rows()[0]);
    return out;
  }
};

TEST_F(RoutingAccuracyOf, TheHeaviestExpertCounts) {
  EXPECT_EQ(measured({{0, 0.7f}, {1, 0.3f}}, {1, 0, 0}, model::Part::prompt), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(measured({{0, 0.7f}, {1, 0.3f}}, {0, 1, 0}, model::Part::prompt), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(measured({{0, 0.7f}, {1, 0.3f}}, {1, 1, 0}, model::Part::prompt), (std::vector<double>{1, 1, 1}));
}

TEST_F(RoutingAccuracyOf, TiesShare) {
  EXPECT_EQ(measured({{0, 0.5f}, {2, 0.5f}}, {0, 0, 1}, model::Part::prompt), (std::vector<double>{0.5, 0.5, 0.5}));
}

TEST_F(RoutingAccuracyOf, AnswersAndTheBaseCountNothing) {
  EXPECT_EQ(measured({{0, 1.0f}}, {1, 0, 0}, model::Part::answer), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(measured({}, {1, 0, 0}, model::Part::prompt), (std::vector<double>{0, 0, 0}));
}

}  // namespace
}  // namespace quiver::evaluation
