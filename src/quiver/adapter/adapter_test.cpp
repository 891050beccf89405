// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/adapter.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"
#include "quiver/model/load.h"

namespace quiver::adapter {
namespace {

using Names = std::vector<std::string>;

/// Two layers of seven sites each, in 32 or 48, out 16, 32 or 48.
const model::Model& tiny_model() {
  static const auto model =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  return model;
}

LoraOptions options_of(std::int64_t rank, Names targets = {}) {
  LoraOptions options;
  options.rank = rank;
  options.targets = std::move(targets);
  return options;
}

std::vector<std::string> sites_of(const Adapter& adapter) {
  std::vector<std::string> names;
  for (const auto& [site, factors] : adapter.sites) names.push_back(site);
  return names;
}

/// The message of the Error{usage} that `action` throws.
template <typename Action>
std::string usage_error(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

TEST(MakeLora, EverySiteGetsFactorsOfItsShapeAtTheRank) {
  for (const std::int64_t rank : {1, 5, 40}) {  // 40 is more than any site needs, and no reason to give less
    const auto adapter = make_lora(tiny_model(), options_of(rank), 3);
    std::int64_t parameters = 0;
    EXPECT_EQ(adapter.sites.size(), tiny_model().sites().size());
    for (const auto& site : tiny_model().sites()) {
      const auto& f = adapter.sites.at(site.name);
      EXPECT_EQ(f.a.sizes(), (std::vector<std::int64_t>{rank, site.in})) << site.name;
      EXPECT_EQ(f.b.sizes(), (std::vector<std::int64_t>{site.out, rank})) << site.name;
      EXPECT_EQ(f.a.scalar_type(), at::kFloat);
      EXPECT_EQ(f.b.scalar_type(), at::kFloat);
      EXPECT_DOUBLE_EQ(f.scale, 32.0 / static_cast<double>(rank));
      parameters += rank * (site.in + site.out);
    }
    EXPECT_EQ(adapter.parameters(), parameters);
  }
}

TEST(MakeLora, TheScaleIsAlphaOverTheRankOrItsRoot) {
  EXPECT_DOUBLE_EQ(lora_scale(32, 16, false), 2.0);
  EXPECT_DOUBLE_EQ(lora_scale(32, 16, true), 8.0);
  auto options = options_of(16);
  options.alpha = 4;
  options.rank_stabilised = true;
  EXPECT_DOUBLE_EQ(make_lora(tiny_model(), options, 0).sites.begin()->second.scale, 1.0);
}

TEST(MakeLora, AIsUniformUpToItsBoundAndBIsZero) {
  for (const auto init : {LoraOptions::Init::peft, LoraOptions::Init::mttl}) {
    auto options = options_of(64);
    options.init = init;
    const auto adapter = make_lora(tiny_model(), options, 11);
    const double share = init == LoraOptions::Init::mttl ? 3.0 : 1.0;
    double n = 0.0, sum = 0.0, squares = 0.0, inner = 0.0, largest = 0.0;
    for (const auto& [site, f] : adapter.sites) {
      EXPECT_EQ(f.b.abs().max().item<double>(), 0.0) << site;
      const auto a = f.a.contiguous();
      for (std::int64_t i = 0; i < a.numel(); ++i) {
        const double u = a.const_data_ptr<float>()[i] * std::sqrt(share * static_cast<double>(a.size(1)));
        n += 1;
        sum += u;
        squares += u * u;
        inner += std::abs(u) < 0.5;
        largest = std::max(largest, std::abs(u));
      }
    }
    ASSERT_EQ(n, 30720);
    EXPECT_LT(largest, 1.0 + 1e-6);  // values are rounded to float32
    EXPECT_GT(largest, 0.999);       // below it with chance .999^30720 < 1e-13
    // Five standard errors of: a mean (1 / sqrt 3 each), a mean square (sqrt(4 / 45) each), a share of one half.
    EXPECT_NEAR(sum / n, 0.0, 5 * std::sqrt(1.0 / 3.0 / n));
    EXPECT_NEAR(squares / n, 1.0 / 3.0, 5 * std::sqrt(4.0 / 45.0 / n));
    EXPECT_NEAR(inner / n, 0.5, 5 * 0.5 / std::sqrt(n));
  }
}

TEST(MakeLora, PemtDrawsBToo) {
  auto options = options_of(16);
  const auto usual = make_lora(tiny_model(), options, 11);
  options.init = LoraOptions::Init::pemt;
  const auto adapter = make_lora(tiny_model(), options, 11);
  double largest = 0.0;
  for (const auto& [site, f] : adapter.sites) {
    EXPECT_TRUE(f.a.equal(usual.sites.at(site).a)) << site;
    EXPECT_LE(f.b.abs().max().item<double>(), 0.25 + 1e-6) << site;
    EXPECT_NEAR(f.b.square().mean().item<double>(), 0.0625 / 3, 0.004) << site;
    largest = std::max(largest, f.b.abs().max().item<double>());
  }
  EXPECT_GT(largest, 0.249);
}

TEST(MakeLora, ASiteIsDrawnFromSeedAndSiteAlone) {
  const auto all = make_lora(tiny_model(), options_of(4), 7), again = make_lora(tiny_model(), options_of(4), 7);
  const auto other = make_lora(tiny_model(), options_of(4), 8);
  const auto some = make_lora(tiny_model(), options_of(4, {"v_proj", "down_proj"}), 7);
  for (const auto& [site, f] : all.sites) {
    EXPECT_TRUE(f.a.equal(again.sites.at(site).a)) << site;
    EXPECT_FALSE(f.a.equal(other.sites.at(site).a)) << site;
  }
  for (const auto& [site, f] : some.sites) EXPECT_TRUE(f.a.equal(all.sites.at(site).a)) << site;
  std::set<float> firsts;
  for (const auto& [site, f] : all.sites) firsts.insert(f.a[0][0].item<float>());
  EXPECT_EQ(firsts.size(), all.sites.size()) << "two sites share a stream";
}

TEST(MakeLora, TargetsChooseTheSites) {
  const auto chosen = [](Names targets) {
    return sites_of(make_lora(tiny_model(), options_of(2, std::move(targets)), 0));
  };
  const std::string first = "model.layers.0.self_attn.", second = "model.layers.1.self_attn.";
  EXPECT_EQ(chosen({"q_proj"}), (Names{first + "q_proj", second + "q_proj"}));
  EXPECT_EQ(chosen({"v_proj", "q_proj"}),
            (Names{first + "q_proj", first + "v_proj", second + "q_proj", second + "v_proj"}));
  EXPECT_EQ(chosen({second + "k_proj"}), (Names{second + "k_proj"}));
  EXPECT_EQ(chosen({"1.self_attn.k_proj"}), (Names{second + "k_proj"}));
  EXPECT_EQ(chosen({R"(.*\.1\.self_attn\.[qk]_proj)"}), (Names{second + "k_proj", second + "q_proj"}));
  EXPECT_EQ(chosen({"1.self_attn.k_proj", R"(.*\.0\.self_attn\.(q|k){1,2}_proj)"}),
            (Names{first + "k_proj", first + "q_proj", second + "k_proj"}))
      << "names and expressions in one list";
  EXPECT_EQ(chosen({}).size(), 14u);
  EXPECT_EQ(chosen({"all-linear"}).size(), 14u);
}

TEST(MakeLora, RefusesByTheOptionsName) {
  const auto make = [](const LoraOptions& options) {
    return usage_error([&] { make_lora(tiny_model(), options, 0); });
  };
  const auto says = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says(make(options_of(4, {"query"})), "'query'");
  says(make(options_of(4, {"(q_proj"})), "'(q_proj' is not a regular expression");
  says(make(options_of(4, {"q_proj", "qq_proj"})), "'qq_proj' matches no site");
  says(make(options_of(4, {"q_proj", "all-linear"})), "'all-linear' matches no site");
  says(make(options_of(4, {"q_proj", ".*layers[.]7.*"})), "'.*layers[.]7.*' matches no site");
  for (const std::int64_t rank : {-1, 0, 4097}) says(make(options_of(rank)), "[--rank]");
  for (const double alpha : {0.0, -1.0, std::nan("")}) {
    auto options = options_of(4);
    options.alpha = alpha;
    says(make(options), "[--alpha]");
  }
  for (const double dropout : {-0.1, 1.0, std::nan("")}) {
    auto options = options_of(4);
    options.dropout = dropout;
    says(make(options), "[--dropout]");
  }
}

TEST(KindOptions, WhatOneKindReadsIsDescribedInItsFile) {
  KindOptions options;
  options.kinds = {"compacter"};
  auto other = options;
  set_option(other, "products", "2");
  EXPECT_EQ(to_json(options)["products"], 4);
  EXPECT_EQ(to_json(other)["products"], 2);
  EXPECT_EQ(to_json(other)["nonlinearity"], "gelu_new");
  EXPECT_FALSE(to_json(other).contains("prompt_rank")) << "what no kind of it reads decides nothing";
  const auto read = adapter::options_of({"mpt", "ia3"});
  EXPECT_EQ(read, (Names{"kind_targets", "prompt_rank", "prompt_tokens"}));
  usage_error([&] { set_option(other, "products", "0"); });
  other.width = 0;
  const auto message = usage_error([&] { make_adapter(tiny_model(), {}, other, 0); });
  EXPECT_NE(message.find("--bottleneck-width"), std::string::npos) << message;
}

}  // namespace
}  // namespace quiver::adapter
