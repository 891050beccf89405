// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quiver/base/files.h"
#include "quiver/evaluation/unicode_text.h"

namespace quiver::evaluation {
namespace {

TEST(FirstLine, CutsAtTheFirstBreak) {
  EXPECT_EQ(first_line(" yes \nno"), "yes");
  EXPECT_EQ(first_line("yes"), "yes");
  EXPECT_EQ(first_line("yes\r\nno"), "yes");
  EXPECT_EQ(first_line("\nyes"), "");
}

TEST(Normalise, EachOptionDoesItsPart) {
  EXPECT_EQ(normalise("  The  U.S.  don't "), "the us dont");
  EXPECT_EQ(normalise("A  The, AN apple", {.articles = true}), "apple");
  EXPECT_EQ(normalise("Ab, c", {.lower = false}), "Ab c");
  EXPECT_EQ(normalise("Ab, c", {.punctuation = false}), "ab, c");
  EXPECT_EQ(normalise("\xC3\x89t\xC3\xA9!"), "\xC3\xA9t\xC3\xA9");
  EXPECT_EQ(normalise("\xC2\xA0 a\xE2\x80\x93"
                      "b",
                      {.articles = true}),
            "\xE2\x80\x93"
            "b");
  EXPECT_EQ(normalise("theatre and", {.articles = true}), "theatre and");
}

TEST(ExactMatch, RawAndNormalised) {
  EXPECT_TRUE(exact_match("b", {"a", "b"}));
  EXPECT_FALSE(exact_match("B", {"a", "b"}));
  EXPECT_FALSE(exact_match("", {}));
  for (const auto* same : {"yes ", " yes", "yes\n", "yes\r", "\xC2\xA0yes"}) {
    EXPECT_TRUE(exact_match("yes", {same}));
    EXPECT_TRUE(exact_match(same, {"yes"}));
  }
  EXPECT_TRUE(exact_match("", {" "}));
  EXPECT_FALSE(exact_match("y es", {"yes"}));
  EXPECT_TRUE(normalised_exact_match("B.", {"a", "b"}));
  EXPECT_FALSE(normalised_exact_match("the b", {"b"}));
  EXPECT_TRUE(normalised_exact_match("the b", {"b"}, {.articles = true}));
}

TEST(UnicodeText, IsAsPythonHasIt) {
  const auto golden = nlohmann::json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/text.json"));
  ASSERT_GE(golden["texts"].size(), 90u);
  for (const auto& test : golden["texts"]) {
    const auto text = test["text"].get<std::string>();
    EXPECT_EQ(lower(text), test["lower"].get<std::string>()) << test;
    EXPECT_EQ(split_words(text), test["words"].get<std::vector<std::string>>()) << test;
    EXPECT_EQ(strip(text), test["strip"].get<std::string>()) << test;
    EXPECT_EQ(normalise(text, {.articles = true}), test["squad"].get<std::string>()) << test;
  }
}

TEST(Squad, EqualsItsScriptOnAnyUnicode) {
  const auto golden = nlohmann::json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/text.json"));
  ASSERT_GE(golden["pairs"].size(), 60u);
  for (const auto& test : golden["pairs"]) {
    const auto prediction = test["prediction"].get<std::string>(), reference = test["reference"].get<std::string>();
    EXPECT_EQ(squad_exact_match(prediction, {reference}), test["em"].get<double>()) << test;
    EXPECT_NEAR(squad_f1(prediction, {reference}), test["f1"].get<double>(), 1e-15) << test;
  }
}

TEST(RougeL, EqualsThePublicPackage) {
  const auto golden = nlohmann::json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/rouge_l.json"));
  ASSERT_GE(golden["cases"].size(), 30u);
  for (const auto& test : golden["cases"]) {
    const auto score = rouge_l(test["prediction"].get<std::string>(), test["reference"].get<std::string>());
    // Both sides take the same few double operations on small integers.
    EXPECT_NEAR(score.precision, test["precision"].get<double>(), 1e-15) << test;
    EXPECT_NEAR(score.recall, test["recall"].get<double>(), 1e-15) << test;
    EXPECT_NEAR(score.f1, test["f1"].get<double>(), 1e-15) << test;
  }
}

TEST(RougeL, TakesTheBestReference) {
  EXPECT_EQ(rouge_l_f1("a b", {"c", "a b", "a"}), 1.0);
  EXPECT_EQ(rouge_l_f1("a b", {}), 0.0);
}

}  // namespace
}  // namespace quiver::evaluation
