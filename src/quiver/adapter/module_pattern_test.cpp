// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/module_pattern.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr const char* kSite = "model.layers.3.self_attn.q_proj";

TEST(ModulePattern, EndOfPathIsPeftsRule) {
  const auto matches = [](const char* expression, const char* module = kSite) {
    return ModulePattern::end_of_path(expression, "test").matches(module);
  };
  EXPECT_TRUE(matches("q_proj"));
  EXPECT_TRUE(matches(kSite));
  EXPECT_TRUE(matches("self_attn.q_proj"));
  EXPECT_TRUE(matches("self_attn\\.q_proj"));
  EXPECT_TRUE(matches("self.attn.q_proj")) << "a dot is any letter";
  EXPECT_FALSE(matches("self\\.attn\\.q_proj"));
  EXPECT_FALSE(matches("proj")) << "the end of a word is not the end of a path";
  EXPECT_FALSE(matches("model.layers.3"));
  EXPECT_TRUE(matches("layers\\.[0-4]\\..*"));
  EXPECT_TRUE(matches("(q|k)_proj"));
  EXPECT_FALSE(matches("(k|v)_proj"));
  EXPECT_TRUE(matches("a-b", "x.a-b"));
}

TEST(ModulePattern, WholePathIsAnExpression) {
  const auto matches = [](const char* expression) {
    return ModulePattern::whole_path(expression, "test").matches(kSite);
  };
  EXPECT_TRUE(matches(".*q_proj"));
  EXPECT_FALSE(matches("q_proj"));
  EXPECT_TRUE(matches(escaped_module(kSite).c_str()));
}

TEST(TargetedSites, EachTargetMatchesOrIsNamed) {
  std::vector<model::Site> sites;
  for (const auto* name : {"layers.0.q_proj", "layers.0.up_proj", "layers.1.q_proj"}) sites.push_back({.name = name});
  using Numbers = std::vector<std::size_t>;
  EXPECT_EQ(targeted_sites(sites, {}, "--targets"), (Numbers{0, 1, 2}));
  EXPECT_EQ(targeted_sites(sites, {"all-linear"}, "--targets"), (Numbers{0, 1, 2}));
  EXPECT_EQ(targeted_sites(sites, {"up_proj", "1.q_proj"}, "--targets"), (Numbers{1, 2}));
  EXPECT_EQ(targeted_sites(sites, {"q_proj", "q_proj", ".*\\.0\\..*"}, "--targets"), (Numbers{0, 1, 2}));
  for (const auto& [targets, culprit] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{{{"q_proj", "qq_proj"}, "'qq_proj'"},
                                                                     {{"proj"}, "'proj'"},
                                                                     {{"q_proj", ""}, "''"},
                                                                     {{"up_proj", "q_pro[j]"}, "'q_pro[j]'"},
                                                                     {{"up_proj", "(q_proj"}, "'(q_proj'"},
                                                                     {{".*layers.{1,2"}, "'.*layers.{1,2'"},
                                                                     {{"((a|.)*)*[!?]"}, "((a|.)*)*[!?]"}}) {
    try {
      targeted_sites(sites, targets, "--kind-targets");
      FAIL() << culprit;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("--kind-targets"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(culprit), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace quiver::adapter
