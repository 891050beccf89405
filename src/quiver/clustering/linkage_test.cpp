// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/linkage.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "quiver/clustering/kmeans.h"
#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

const std::map<std::string, Linkage> kLinkages{{"average", Linkage::average},
                                               {"complete", Linkage::complete},
                                               {"single", Linkage::single},
                                               {"ward", Linkage::ward}};

TEST(Linkage, EqualsSciPyAndScikitLearn) {
  const auto golden = golden_json("linkage.json");
  const auto distance = golden["distance"].get<Rows>();
  ASSERT_EQ(golden["methods"].size(), 4u);
  for (const auto& [name, expected] : golden["methods"].items()) {
    const auto merges = agglomerate(distance, kLinkages.at(name));
    const auto steps = expected["merges"].get<Rows>();
    ASSERT_EQ(merges.size(), steps.size());
    for (std::size_t s = 0; s < steps.size(); ++s) {
      EXPECT_EQ(merges[s].first, steps[s][0]) << name << " step " << s;
      EXPECT_EQ(merges[s].second, steps[s][1]) << name << " step " << s;
      EXPECT_NEAR(merges[s].distance, steps[s][2], 1e-12) << name << " step " << s;  // 24 steps of a few roundings
      EXPECT_EQ(merges[s].size, steps[s][3]) << name << " step " << s;
    }
    for (const auto& [clusters, labels] : expected["labels"].items()) {
      auto want = labels.get<std::vector<std::size_t>>();
      number_by_first_member(want);
      EXPECT_EQ(cut(merges, std::stoul(clusters)), want) << name << " " << clusters;
    }
  }
}

TEST(Linkage, ByHandOnALine) {
  // Points 0, 1, 3, 7: 0 and 1 join at 1; then {0, 1} and 3 at 2 (single), 2.5 (average) or 3 (complete).
  const Rows distance{{0, 1, 3, 7}, {1, 0, 2, 6}, {3, 2, 0, 4}, {7, 6, 4, 0}};
  const std::pair<Linkage, double> second[] = {{Linkage::single, 2}, {Linkage::average, 2.5}, {Linkage::complete, 3}};
  for (const auto& [linkage, height] : second) {
    const auto merges = agglomerate(distance, linkage);
    EXPECT_EQ(merges[0].distance, 1.0);
    EXPECT_EQ(merges[1].distance, height);
    EXPECT_EQ(merges[1].first, 2u);
    EXPECT_EQ(merges[1].second, 4u);
    EXPECT_EQ(cut(merges, 2), (std::vector<std::size_t>{0, 0, 0, 1}));
  }
}

TEST(Linkage, EqualDistancesJoinTheLowestNumbersFirst) {
  const auto merges = agglomerate(Rows(4, std::vector<double>(4, 1.0)), Linkage::average);
  EXPECT_EQ(merges[0].first, 0u);
  EXPECT_EQ(merges[0].second, 1u);
  EXPECT_EQ(cut(merges, 3), (std::vector<std::size_t>{0, 0, 1, 2}));
}

TEST(Linkage, FewPointsAndErrors) {
  const auto none = agglomerate(Rows{{0.0}}, Linkage::ward);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(cut(none, 1), (std::vector<std::size_t>{0}));
  EXPECT_THROW(cut(none, 2), Error);
  EXPECT_THROW(cut(none, 0), Error);
}

}  // namespace
}  // namespace quiver::clustering
