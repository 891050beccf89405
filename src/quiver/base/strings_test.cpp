// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/strings.h"

#include <gtest/gtest.h>

namespace quiver {
namespace {

using Parts = std::vector<std::string>;

TEST(Split, KeepsEmptyPartsButNotOfAnEmptyText) {
  EXPECT_EQ(split("", ','), Parts());
  EXPECT_EQ(split("a", ','), Parts({"a"}));
  EXPECT_EQ(split("a,b,c", ','), Parts({"a", "b", "c"}));
  EXPECT_EQ(split(",a,,b,", ','), Parts({"", "a", "", "b", ""}));
}

TEST(Join, IsTheInverseOfSplit) {
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a"}, ", "), "a");
  EXPECT_EQ(join({"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(join(split(",a,,b,", ','), ","), ",a,,b,");
}

TEST(Trim, TakesWhiteSpaceFromBothEndsOnly) {
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim(" \t\r\n"), "");
  EXPECT_EQ(trim("\n a b\t"), "a b");
  EXPECT_EQ(trim("\u00e9 "), "\u00e9");
}

TEST(LowerAscii, LeavesOtherBytesAlone) { EXPECT_EQ(lower_ascii("AbZ-9\u00c9"), "abz-9\u00c9"); }

TEST(StartsWithAny, ComparesWholePrefixes) {
  EXPECT_TRUE(starts_with_any("model.layers.0", {"lm_head", "model."}));
  EXPECT_FALSE(starts_with_any("model", {"model."}));
  EXPECT_FALSE(starts_with_any("model", {}));
}

TEST(NearestName, FindsWhatWasMeant) {
  const Parts routes = {"arrow", "uniform", "oracle", "average-activation"};
  EXPECT_EQ(nearest_name("arow", routes), "arrow");
  EXPECT_EQ(nearest_name("unifrom", routes), "uniform");
  EXPECT_EQ(nearest_name("averge-activaton", routes), "average-activation");
  EXPECT_EQ(nearest_name("arrow", routes), "arrow");
}

TEST(NearestName, IsEmptyWhereNothingIsNear) {
  EXPECT_EQ(nearest_name("phatgoose", {"arrow", "uniform"}), "");
  EXPECT_EQ(nearest_name("x", {"ab", "q"}), "") << "a name whose every letter is wrong was not meant";
  EXPECT_EQ(nearest_name("", {"a"}), "");
  EXPECT_EQ(nearest_name("arrow", {}), "");
}

TEST(Suggestion, NamesTheNearestOrTheKnown) {
  EXPECT_EQ(suggestion("arow", {"arrow", "uniform"}), "; did you mean 'arrow'?");
  EXPECT_EQ(suggestion("phatgoose", {"arrow", "uniform"}), "; known: arrow, uniform");
  EXPECT_EQ(suggestion("phatgoose", {}), "");
  EXPECT_EQ(suggestion("phatgoose", Parts(13, "arrow")), "; known: " + join(Parts(12, "arrow"), ", ") + ", ...");
}

TEST(ReplaceAll, AllOfATextIsReplacedButNotWhatWasPutIn) {
  std::string text = "aXXaX";
  EXPECT_TRUE(replace_all(text, "X", "XY"));
  EXPECT_EQ(text, "aXYXYaXY");
  EXPECT_TRUE(replace_all(text, "XY", ""));
  EXPECT_EQ(text, "aa");
  EXPECT_FALSE(replace_all(text, "b", "c"));
}

}  // namespace
}  // namespace quiver
