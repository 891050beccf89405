// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/mbc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

using Labels = std::vector<std::size_t>;

/// Twelve experts of three families, in turn.
at::Tensor planted_similarity() {
  std::vector<adapter::Adapter> experts;
  for (std::uint64_t e = 0; e < 12; ++e) experts.push_back(planted_expert(e % 3, e));
  return cosine_similarity(gram_matrix(pointers(experts), {}), 64);
}

const Labels kPlanted{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};

MbcOptions options_of(Method method, std::size_t clusters) {
  MbcOptions options;
  options.method = method;
  options.k_means.clusters = clusters;
  return options;
}

TEST(GroupExperts, FindsThePlantedFamilies) {
  const auto similarity = planted_similarity();
  EXPECT_EQ(group_experts(similarity, options_of(Method::mbc, 3)).cluster, kPlanted);
  for (const auto linkage : {Linkage::average, Linkage::complete, Linkage::single, Linkage::ward}) {
    auto options = options_of(Method::agglomerative, 3);
    options.linkage = linkage;
    EXPECT_EQ(group_experts(similarity, options).cluster, kPlanted);
  }
}

TEST(GroupExperts, ChoosesTheirNumber) {
  for (const auto method : {Method::mbc, Method::agglomerative}) {
    auto options = options_of(method, 10);
    options.k_means.clusters = 0;
    const auto grouping = group_experts(planted_similarity(), options);
    EXPECT_EQ(grouping.cluster, kPlanted);
    ASSERT_EQ(grouping.silhouettes.size(), 10u);  // 2 to 11, though 20 are allowed
    EXPECT_EQ(grouping.silhouettes.front().clusters, 2u);
    EXPECT_EQ(grouping.silhouettes.back().clusters, 11u);
    const auto best = std::max_element(grouping.silhouettes.begin(), grouping.silhouettes.end(),
                                       [](const auto& a, const auto& b) { return a.silhouette < b.silhouette; });
    EXPECT_EQ(best->clusters, 3u);
    options.min_clusters = 4;
    EXPECT_EQ(group_experts(planted_similarity(), options).silhouettes.front().clusters, 4u);
  }
}

TEST(GroupExperts, OfEqualSilhouettesTheSmallestNumberWins) {
  // All pairs alike: no division is better than another, each has silhouettes of 0.
  auto similarity = at::zeros({5, 5}, at::kDouble);
  similarity.diagonal().fill_(1.0);
  auto options = options_of(Method::agglomerative, 1);
  options.k_means.clusters = 0;
  const auto grouping = group_experts(similarity, options);
  EXPECT_EQ(*std::max_element(grouping.cluster.begin(), grouping.cluster.end()), 1u);
}

TEST(GroupExperts, RandomClustersAreOfEqualSizeAndFollowTheSeed) {
  const auto similarity = planted_similarity();
  auto options = options_of(Method::random, 5);
  const auto first = group_experts(similarity, options).cluster;
  EXPECT_EQ(group_experts(similarity, options).cluster, first);
  std::multiset<std::ptrdiff_t> sizes;
  for (std::size_t c = 0; c < 5; ++c) sizes.insert(std::count(first.begin(), first.end(), c));
  EXPECT_EQ(sizes, (std::multiset<std::ptrdiff_t>{2, 2, 2, 3, 3}));
  options.k_means.seed = 43;
  EXPECT_NE(group_experts(similarity, options).cluster, first);
}

TEST(GroupExperts, ImpossibleNumbersAreErrors) {
  const auto similarity = planted_similarity();
  for (const auto method : {Method::mbc, Method::agglomerative, Method::random}) {
    EXPECT_THROW(group_experts(similarity, options_of(method, 13)), Error);
    EXPECT_NO_THROW(group_experts(similarity, options_of(method, 1)));
    EXPECT_NO_THROW(group_experts(similarity, options_of(method, 12)));
  }
  auto options = options_of(Method::mbc, 1);
  options.k_means.clusters = 0;
  EXPECT_THROW(group_experts(similarity.narrow(0, 0, 2).narrow(1, 0, 2), options), Error);
  options.min_clusters = 1;
  EXPECT_THROW(group_experts(similarity, options), Error);
  options.min_clusters = 12;
  EXPECT_THROW(group_experts(similarity, options), Error);
}

TEST(MbcOptions, AreReadByTheChoicesThatNeedThem) {
  MbcOptions options;
  OptionSet set;
  describe(options, set);
  EXPECT_EQ(read_options(options), (std::vector<std::string>{"clusters", "method", "embedding", "seed"}));
  set.assign_all({{"clusters", "auto"}, {"method", "agglomerative"}, {"embedding", "mttl"}}, "test");
  EXPECT_EQ(read_options(options), (std::vector<std::string>{"clusters", "method", "embedding", "min_clusters",
                                                             "max_clusters", "linkage", "sparsity"}));
  tensor_io::expect_error(ErrorCode::usage, "expected mbc, agglomerative, random", [] {
    MbcOptions misspelt;
    OptionSet one;
    describe(misspelt, one);
    one.assign("method", "randm", "test");
  });
}

TEST(ClusterLibrary, ByEachEmbeddingAndReadAgain) {
  const tensor_io::TestFolder folder;
  const auto library = library::Library::open_or_create(folder / "library", "some/base", kFingerprint);
  const std::vector<std::string> names{"film_mood", "book_mood", "city_map", "land_map"};
  for (std::size_t e = 0; e < 4; ++e) save(library, names[e], planted_expert(e / 2, e));
  Descriptions descriptions;
  descriptions.prototypes = [](const auto& asked) {
    auto out = at::zeros({static_cast<std::int64_t>(asked.size()), 2}, at::kFloat);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      out[static_cast<std::int64_t>(i)][asked[i].ends_with("mood") ? 0 : 1].fill_(1.0);
    }
    return std::vector<at::Tensor>{out};
  };
  for (const auto kind : {Embedding::mttl, Embedding::products, Embedding::prototypes, Embedding::text}) {
    auto options = options_of(Method::mbc, 2);
    options.embedding.kind = kind;
    EXPECT_EQ(cluster_library(library, names, options, descriptions).cluster, (Labels{0, 0, 1, 1}));
    const auto stored = read_clustering(library);
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(stored->cluster, (Labels{0, 0, 1, 1}));
    EXPECT_EQ(stored->names, names);
    EXPECT_EQ(stored->embedding.kind, kind);
    EXPECT_EQ(stored->method, "mbc");
    ASSERT_EQ(stored->silhouettes.size(), 1u);
    EXPECT_GT(stored->silhouettes[0].silhouette, 0.1);
    EXPECT_EQ(stored->identities[2], library.info("city_map").identity);
  }
  EXPECT_EQ(task_texts(library, {"film_mood"}), (std::vector<std::string>{"film mood"}));
  auto options = options_of(Method::mbc, 2);
  options.embedding.kind = Embedding::prototypes;
  EXPECT_THROW(cluster_library(library, names, options), Error);
  EXPECT_THROW(cluster_library(library, {}, options), Error);
}

TEST(ClusterLibrary, DamagedFilesAreErrorsAndFilesOfFourFieldsAreRead) {
  const tensor_io::TestFolder folder;
  const auto library = library::Library::open_or_create(folder / "library", "some/base", kFingerprint);
  for (const auto* name : {"a", "b"}) save(library, name, random_expert(name[0]));
  const auto write = [&](const std::string& text) {
    library.write_derived("clusters", library.contents_key(library.names()), "json",
                          [&](const fs::path& path) { write_file_atomically(path, text); });
  };
  const std::string plain = R"("names": ["a", "b"], "similarity": [[1, 0], [0, 1]], "positions": [[0, 0], [1, 1]])";
  write("{" + plain + R"(, "cluster": [0, 1]})");
  EXPECT_EQ(read_clustering(library)->clusters(), 2u);
  for (const auto& damaged :
       {std::string("{"), std::string("[]"), "{" + plain + "}", "{" + plain + R"(, "cluster": [0]})",
        "{" + plain + R"(, "cluster": [0, 2]})", "{" + plain + R"(, "cluster": [0, 1], "silhouettes": [3]})"}) {
    write(damaged);
    EXPECT_THROW(read_clustering(library), Error) << damaged;
  }
}

}  // namespace
}  // namespace quiver::clustering
