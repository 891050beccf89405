// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/retrieval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "quiver/clustering/similarity.h"
#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

using Names = std::vector<std::string>;

Names names_of(const std::vector<std::pair<std::string, double>>& found) {
  Names out;
  for (const auto& [name, similarity] : found) out.push_back(name);
  return out;
}

/// Nine experts of three families in turn, and a query of the second family.
class Retrieve : public testing::Test {
 protected:
  Retrieve() {
    for (std::uint64_t e = 0; e < 9; ++e) {
      names_.push_back("expert" + std::to_string(e));
      experts_.push_back(planted_expert(e % 3, e));
    }
    inputs_.experts = pointers(experts_);
    inputs_.query = &query_;
  }
  Names names_;
  std::vector<adapter::Adapter> experts_;
  adapter::Adapter query_ = planted_expert(1, 50);
  RetrievalInputs inputs_;
};

TEST_F(Retrieve, TheQuerysFamilyComesFirst) {
  for (const auto kind : {Retriever::cosine, Retriever::svd, Retriever::products}) {
    RetrievalOptions options;
    options.kind = kind;
    options.top_k = 3;
    const auto found = retrieve(names_, inputs_, options);
    const auto names = names_of(found);
    EXPECT_EQ(std::set(names.begin(), names.end()), (std::set<std::string>{"expert1", "expert4", "expert7"}));
    EXPECT_TRUE(std::is_sorted(found.begin(), found.end(), [](auto& a, auto& b) { return a.second > b.second; }));
    options.top_k = 0;
    EXPECT_EQ(retrieve(names_, inputs_, options).size(), 9u);
    options.top_k = 99;
    EXPECT_EQ(retrieve(names_, inputs_, options).size(), 9u);
  }
}

TEST_F(Retrieve, ScoresAreTheCosinesOfTheEmbedding) {
  auto all = inputs_.experts;
  all.push_back(&query_);
  const auto row_of = [&](const EmbeddingOptions& embedding) {
    return rows_of(cosine_similarity(gram_matrix(all, embedding), embedding.components)).back();
  };
  const auto expect = [&](Retriever kind, const std::vector<double>& row, double tolerance) {
    RetrievalOptions options;
    options.kind = kind;
    options.top_k = 0;
    options.components = 4;
    for (const auto& [name, similarity] : retrieve(names_, inputs_, options)) {
      EXPECT_NEAR(similarity, row[name.back() - '0'], tolerance) << name;
    }
  };
  // Pair by pair or all at once: float32 sums of 44 entries (cosine) or 11 and 2 (products) in another order.
  expect(Retriever::cosine, row_of({Embedding::mttl, 0.0, 64}), 2 * 44 * 0x1p-24);
  expect(Retriever::products, row_of({Embedding::products, 0.0, 64}), 1e-5);
  expect(Retriever::svd, row_of({Embedding::mttl, 0.5, 4}), 0.0);
}

TEST_F(Retrieve, EqualExpertsKeepTheOrderOfTheirNames) {
  for (auto& expert : experts_) expert = planted_expert(1, 3);
  for (const auto kind : {Retriever::cosine, Retriever::products}) {
    RetrievalOptions options;
    options.kind = kind;
    options.top_k = 0;
    EXPECT_EQ(names_of(retrieve(names_, inputs_, options)), names_);
  }
}

TEST_F(Retrieve, RandomFollowsTheSeedAndRepeatsNone) {
  RetrievalOptions options;
  options.kind = Retriever::random;
  options.top_k = 6;
  const auto first = names_of(retrieve(names_, {}, options));
  EXPECT_EQ(names_of(retrieve(names_, {}, options)), first);
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 6u);
  options.seed = 7;
  EXPECT_NE(names_of(retrieve(names_, {}, options)), first);
}

TEST_F(Retrieve, ByPrototypesAndText) {
  RetrievalInputs inputs;
  inputs.prototypes = {tensor_of({{1, 0}, {0.6, 0.8}, {0, 1}, {0, -1}}).to(at::kFloat)};
  const Names names{"a", "b", "c"};
  const auto found = retrieve(names, inputs, {Retriever::prototypes, 0});
  EXPECT_EQ(names_of(found), (Names{"c", "b", "a"}));
  EXPECT_NEAR(found[1].second, 0.8, 1e-6);

  inputs.texts = {"sentiment of a film", "capital of a country", "title of a film"};
  inputs.query_text = "Which film TITLE?";
  EXPECT_EQ(names_of(retrieve(names, inputs, {Retriever::text, 2})), (Names{"c", "a"}));
}

TEST_F(Retrieve, MissingInputsAreErrors) {
  for (const auto kind :
       {Retriever::cosine, Retriever::svd, Retriever::products, Retriever::prototypes, Retriever::text}) {
    EXPECT_THROW(retrieve(names_, {}, {kind}), Error);
  }
  inputs_.experts.pop_back();
  EXPECT_THROW(retrieve(names_, inputs_, {Retriever::products}), Error);
  inputs_.prototypes = {at::zeros({9, 2}, at::kFloat)};
  EXPECT_THROW(retrieve(names_, inputs_, {Retriever::prototypes}), Error);
  EXPECT_TRUE(retrieve({}, {}, {Retriever::random}).empty());
}

}  // namespace
}  // namespace quiver::clustering
