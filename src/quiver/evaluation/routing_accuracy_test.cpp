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

/// A mix of its own at each site, freed after it: expert 0 for the first layer's tokens, expert 1 for the second's.
class MixPerSite : public model::ExpertSource {
 public:
  explicit MixPerSite(std::shared_ptr<const adapter::Bank> bank) : bank_(std::move(bank)) {}
  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    std::vector<ops::SiteUse> uses;
    for (const auto& s : sites) {
      const auto layer = bank_->model_sites()[static_cast<std::size_t>(s.site)].layer;
      auto mix = std::make_shared<const ops::Mix>(ops::constant_mix(x.size(0), {{layer == 0 ? 0 : 1, 1.0f}}));
      uses.push_back({&bank_->site(s.site), std::move(mix), s.begin, s.count, ops::Combine::outputs, {}});
    }
    return uses;
  }

 private:
  std::shared_ptr<const adapter::Bank> bank_;
};

TEST_F(RoutingAccuracyOf, AMixInThePlaceOfAFreedOneIsCountedAnew) {
  const c10::AutoGradMode no_gradient(false);
  const auto experts = bank({2, 2});
  RoutingAccuracy accuracy(model_, {1, 0});
  const std::vector<std::int32_t> ids{3, 9, 27};
  const model::BindExperts bind([&](const model::PackedBatch&, const std::vector<std::size_t>&) {
    return std::make_unique<MixPerSite>(experts);
  });
  const auto listening = accuracy.listen(bind, 1);
  const auto batch = model::pack({{ids, nullptr, true}});
  model_.forward(batch, listening(batch, {0}).get());
  EXPECT_EQ(accuracy.by_layer(), (std::vector<double>{1, 0}));
}

}  // namespace
}  // namespace quiver::evaluation
