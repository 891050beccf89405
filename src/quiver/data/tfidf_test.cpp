// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/tfidf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/files.h"

namespace quiver::data {
namespace {

std::vector<double> dense(const SparseVector& sparse, std::size_t terms) {
  std::vector<double> out(terms, 0.0);
  for (const auto& [term, value] : sparse) out[term] = value;
  return out;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  // Both sides take the same few double operations; the sum of squares may be formed in another order.
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-14) << i;
}

TEST(Tfidf, EqualsScikitLearn) {
  const auto golden = nlohmann::json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/cluster/tfidf.json"));
  ASSERT_EQ(golden["cases"].size(), 2u);
  for (const auto& test : golden["cases"]) {
    const auto tfidf = fit_tfidf(golden["texts"], {.bigrams = test["bigrams"]});
    EXPECT_EQ(tfidf.terms, test["terms"].get<std::vector<std::string>>());
    expect_near(tfidf.idf, test["idf"]);
    for (const auto* which : {"texts", "queries"}) {
      const auto& rows = test[std::string(which) == "texts" ? "rows" : "queries"];
      for (std::size_t i = 0; i < rows.size(); ++i) {
        expect_near(dense(transform(tfidf, golden[which][i].get<std::string>()), tfidf.terms.size()), rows[i]);
      }
    }
  }
}

TEST(Tfidf, WeighsByHand) {
  const auto tfidf = fit_tfidf({"red red blue", "blue"});
  ASSERT_EQ(tfidf.terms, (std::vector<std::string>{"blue", "red"}));
  EXPECT_EQ(tfidf.idf[0], 1.0);  // ln(3 / 3) + 1
  EXPECT_DOUBLE_EQ(tfidf.idf[1], std::log(1.5) + 1.0);
  const auto first = transform(tfidf, "red red blue"), second = transform(tfidf, "blue");
  const double red = 2.0 * tfidf.idf[1], length = std::sqrt(1.0 + red * red);
  EXPECT_DOUBLE_EQ(cosine(first, second), 1.0 / length);
  EXPECT_DOUBLE_EQ(cosine(first, first), 1.0);
  EXPECT_EQ(cosine(first, transform(tfidf, "green")), 0.0);
}

TEST(Tfidf, NoTextsAreNoTerms) {
  const auto tfidf = fit_tfidf({});
  EXPECT_TRUE(tfidf.terms.empty());
  EXPECT_TRUE(transform(tfidf, "anything").empty());
}

TEST(Tfidf, LettersBeyondAsciiAreWordsAndDamagedBytesPartThem) {
  const auto tfidf =
      fit_tfidf({"\xC3\x89t\xC3\xA9 \xE2\x80\x9Cquoted\xE2\x80\x9D ab\xFF"
                 "cd"});
  EXPECT_EQ(tfidf.terms, (std::vector<std::string>{"ab", "cd", "quoted", "\xC3\xA9t\xC3\xA9"}));
}

TEST(Tfidf, SavedAndLoadedIsTheSame) {
  const auto tfidf = fit_tfidf({"one two", "two three"}, {.bigrams = true});
  const auto again = load_tfidf(nlohmann::json::parse(save_tfidf(tfidf).dump()), "test");
  EXPECT_EQ(again.terms, tfidf.terms);
  EXPECT_EQ(again.idf, tfidf.idf);
  EXPECT_EQ(transform(again, "one two three"), transform(tfidf, "one two three"));
}

TEST(Tfidf, DamagedWeightsAreErrors) {
  const auto load = [](const char* text) { return load_tfidf(nlohmann::json::parse(text), "test"); };
  EXPECT_NO_THROW(load(R"({"bigrams": false, "terms": ["a", "b"], "idf": [1, 2]})"));
  for (const auto* damaged :
       {"[]", "{}", R"({"bigrams": false, "terms": ["a", "b"], "idf": [1]})",
        R"({"bigrams": false, "terms": ["b", "a"], "idf": [1, 2]})",
        R"({"bigrams": false, "terms": ["a", "a"], "idf": [1, 2]})",
        R"({"bigrams": false, "terms": ["a", "b"], "idf": [1, -2]})",
        R"({"bigrams": false, "terms": ["a", "b"], "idf": [1, null]})", R"({"bigrams": 3, "terms": [], "idf": []})"}) {
    EXPECT_THROW(load(damaged), Error) << damaged;
  }
}

}  // namespace
}  // namespace quiver::data
