// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/incremental.h"

#include <gtest/gtest.h>

#include "quiver/clustering/mbc.h"
#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

using Labels = std::vector<std::size_t>;
using Names = std::vector<std::string>;

TEST(NearestCluster, ByTheMeanNotTheSumNorTheBestMember) {
  // Cluster 0 has three members of mean 0.4, cluster 1 one of 0.5; the nearest single member is in cluster 0.
  const auto placed = nearest_cluster("x", {0.1, 0.2, 0.9, 0.5}, {0, 0, 0, 1});
  EXPECT_EQ(placed.name, "x");
  EXPECT_EQ(placed.cluster, 1u);
  EXPECT_EQ(placed.similarity, 0.5);
}

TEST(NearestCluster, TheFirstOfEqualOnesAndNegativeMeans) {
  EXPECT_EQ(nearest_cluster("x", {0.5, 0.5}, {1, 0}).cluster, 0u);
  EXPECT_EQ(nearest_cluster("x", {-0.5, -0.25}, {0, 3}).cluster, 3u);
  EXPECT_THROW(nearest_cluster("x", {}, {}), Error);
}

class OwnLibrary : public testing::Test {
 protected:
  /// Two experts of each of two families, in two clusters.
  void SetUp() override {
    for (const auto* name : {"a0", "a1", "b0", "b1"}) add(name, 0);
    MbcOptions options;
    options.k_means.clusters = 2;
    ASSERT_EQ(cluster_library(library_, library_.names(), options).cluster, (Labels{0, 0, 1, 1}));
  }
  void add(const std::string& name, std::uint64_t seed, bool replace = false) {
    save(library_, name, planted_expert(name[0], 100 * seed + static_cast<std::uint64_t>(name[1])), replace);
  }
  tensor_io::TestFolder folder_;
  library::Library library_ = library::Library::open_or_create(folder_ / "library", "some/base", kFingerprint);
};

TEST_F(OwnLibrary, NewExpertsJoinAndNoOtherMoves) {
  add("b2", 0);
  add("a2", 0);
  EXPECT_FALSE(read_clustering(library_).has_value());
  const auto result = add_to_clustering(library_, {});
  EXPECT_EQ(result.clustering.names, (Names{"a0", "a1", "b0", "b1", "a2", "b2"}));
  EXPECT_EQ(result.clustering.cluster, (Labels{0, 0, 1, 1, 0, 1}));
  ASSERT_EQ(result.added.size(), 2u);
  EXPECT_EQ(result.added[1].name, "b2");
  EXPECT_GT(result.added[1].similarity, 0.5);
  EXPECT_EQ(read_clustering(library_)->cluster, result.clustering.cluster);
  EXPECT_TRUE(add_to_clustering(library_, {}).added.empty());
}

TEST_F(OwnLibrary, OnlyTheExpertsNamedAreAdded) {
  add("b2", 0);
  add("a2", 0);
  const auto result = add_to_clustering(library_, {"b2"});
  EXPECT_EQ(result.clustering.names, (Names{"a0", "a1", "b0", "b1", "b2"}));
  EXPECT_THROW(add_to_clustering(library_, {"c9"}), Error);
}

TEST_F(OwnLibrary, WhoLeftIsDroppedAndWhoChangedIsPlacedAnew) {
  library_.remove("a0");
  save(library_, "b1", planted_expert('a', 77), true);  // learned something else under its old name
  const auto result = add_to_clustering(library_, {});
  EXPECT_EQ(result.clustering.names, (Names{"a1", "b0", "b1"}));
  EXPECT_EQ(result.clustering.cluster, (Labels{0, 1, 0}));
  ASSERT_EQ(result.added.size(), 1u);
  EXPECT_EQ(result.added[0].name, "b1");
}

TEST_F(OwnLibrary, NothingToAddToIsAnError) {
  for (const auto* name : {"a0", "a1", "b0", "b1"}) add(name, 5, true);
  tensor_io::expect_error(ErrorCode::usage, "again", [&] { add_to_clustering(library_, {}); });
  fs::remove_all(library_.folder() / "derived");
  tensor_io::expect_error(ErrorCode::not_found, "quiver cluster", [&] { add_to_clustering(library_, {}); });
}

}  // namespace
}  // namespace quiver::clustering
