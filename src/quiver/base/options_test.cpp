// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"

namespace quiver {
namespace {

enum class Shade { light, dark };

struct Paint {
  bool glossy = false, shuffled = true;
  std::int64_t coats = 2;
  double thickness = 0.5;
  Shade shade = Shade::dark;
  std::string name = "red", format = "auto";
  std::vector<std::string> places;
};

void describe(Paint& p, OptionSet& set) {
  set.group("look")
      .flag("glossy", p.glossy, "whether it shines")
      .flag_off("no_shuffle", p.shuffled, "in order")
      .integer("coats", p.coats, at_least(1), "how many")
      .word("all", 0)
      .number("thickness", p.thickness, above(0), "in mm")
      .choice("shade", p.shade, {{"light", Shade::light}, {"dark", Shade::dark}}, "how dark")
      .text("name", p.name, "what it is called")
      .choice("format", p.format, {"auto", "rows"}, "of the file")
      .texts("places", p.places, "where it goes");
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(Options, AreSetFromTextAndReadBack) {
  Paint paint;
  OptionSet set;
  describe(paint, set);
  set.assign_all({{"glossy", "true"},
                  {"no_shuffle", "true"},
                  {"coats", "3"},
                  {"thickness", "1e-3"},
                  {"shade", "light"},
                  {"name", "a=b"},
                  {"format", "rows"},
                  {"places", "door,w(a,b){1,2},x\\,y"}},
                 "--set");
  EXPECT_TRUE(paint.glossy);
  EXPECT_FALSE(paint.shuffled);
  EXPECT_EQ(paint.coats, 3);
  EXPECT_EQ(paint.thickness, 1e-3);
  EXPECT_EQ(paint.shade, Shade::light);
  EXPECT_EQ(paint.name, "a=b");
  EXPECT_EQ(paint.format, "rows");
  EXPECT_EQ(paint.places, (std::vector<std::string>{"door", "w(a,b){1,2}", "x\\,y"}));
  EXPECT_EQ(set.to_json({"coats", "shade", "no_shuffle"}),
            (nlohmann::json{{"coats", 3}, {"shade", "light"}, {"no_shuffle", true}}));
  EXPECT_EQ(set.given().size(), 8u);
}

TEST(Options, DefaultsAreTheFieldsAndAWordStandsForANumber) {
  Paint paint;
  paint.coats = 0;
  OptionSet set;
  describe(paint, set);
  EXPECT_EQ(set.find("coats")->fallback, "all");
  EXPECT_EQ(set.find("shade")->fallback, "dark");
  EXPECT_EQ(set.find("thickness")->expectation(), "a number, above 0");
  EXPECT_EQ(set.find("coats")->expectation(), "a whole number, 1 or more or all");
  set.assign("coats", "all", "--coats");
  EXPECT_EQ(paint.coats, 0);
  EXPECT_TRUE(set.given("coats"));
  EXPECT_FALSE(set.given("shade"));
}

TEST(Options, WhatDoesNotFitIsRefusedWithTheExpectation) {
  const std::vector<std::pair<std::string, std::string>> wrong{{"coats", "0"},
                                                               {"coats", "1.5"},
                                                               {"coats", ""},
                                                               {"coats", "2 "},
                                                               {"coats", "99999999999999999999"},
                                                               {"thickness", "0"},
                                                               {"thickness", "nan"},
                                                               {"thickness", "inf"},
                                                               {"thickness", "-1"},
                                                               {"thickness", "1mm"},
                                                               {"glossy", "yes"},
                                                               {"shade", "Light"},
                                                               {"format", "csv"},
                                                               {"places", "a,,b"}};
  for (const auto& [name, value] : wrong) {
    Paint paint;
    OptionSet set;
    describe(paint, set);
    const auto error = error_of([&, name = name, value = value] { set.assign(name, value, "--" + name); });
    EXPECT_NE(error.find("--" + name), std::string::npos) << name << "=" << value << ": " << error;
    EXPECT_FALSE(set.given(name)) << name << "=" << value;
  }
}

TEST(Options, UnknownAndRepeatedNamesAreRefused) {
  Paint paint;
  OptionSet set;
  describe(paint, set);
  EXPECT_NE(error_of([&] { set.assign("coat", "1", "--set coat"); }).find("did you mean 'coats'"), std::string::npos);
  set.assign("coats", "1", "--coats");
  EXPECT_NE(error_of([&] { set.assign("coats", "2", "--coats"); }).find("given twice"), std::string::npos);
  EXPECT_EQ(paint.coats, 1);
}

TEST(Options, GivenOptionsThatNobodyReadsAreRefused) {
  Paint paint;
  OptionSet set;
  describe(paint, set);
  set.assign("coats", "1", "--coats");
  refuse_unread(set, {"coats"}, "--method brush");
  const auto error = error_of([&] {
    refuse_unread(set, {"shade"}, "--method spray", [](const auto&) { return std::vector<std::string>{"brush"}; });
  });
  EXPECT_EQ(error, "[--coats] --method spray does not read it; these do: brush");
}

TEST(Options, RangesSayWhatTheyHold) {
  EXPECT_EQ(at_least(0).text(), "0 or more");
  EXPECT_EQ(above(0).text(), "above 0");
  EXPECT_EQ(between(0, 1).text(), "0 to 1");
  EXPECT_EQ(from_to_below(0, 1).text(), "at least 0, below 1");
  EXPECT_EQ(any_number().text(), "");
  EXPECT_TRUE(from_to_below(0, 1).contains(0));
  EXPECT_FALSE(from_to_below(0, 1).contains(1));
  EXPECT_FALSE(any_number().contains(std::nan("")));
}

}  // namespace
}  // namespace quiver
