// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/adapter/derived.h"
#include "quiver/adapter/kinds.h"
#include "quiver/adapter/peft_keys.h"
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::adapter {
namespace {

using nlohmann::json;

const std::string kAttention = "model.layers.0.self_attn.";

ops::LoraFactors factors(std::int64_t rank, double scale, std::int64_t in = 6, std::int64_t out = 5) {
  return {at::randn({rank, in}), at::randn({out, rank}), scale};
}

/// Rank 4 and alpha 8 by the options; two sites differ from them in rank, scale or both.
Adapter uneven_adapter(bool rank_stabilised) {
  at::manual_seed(5);
  LoraOptions options;
  options.rank = 4;
  options.alpha = 8;
  options.rank_stabilised = rank_stabilised;
  options.dropout = 0.05;
  options.targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  Adapter adapter{options, {}};
  adapter.sites[kAttention + "q_proj"] = factors(4, lora_scale(8, 4, rank_stabilised));
  adapter.sites[kAttention + "k_proj"] = factors(1, lora_scale(8, 1, rank_stabilised), 3, 7);
  adapter.sites[kAttention + "v_proj"] = factors(4, 0.3);
  adapter.sites[kAttention + "o_proj"] = factors(3, -1.7);
  adapter.sites["model.layers.10.self_attn.q_proj"] = factors(2, 1.0 / 3.0);
  return adapter;
}

class PeftFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_peft_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::map<std::string, at::Tensor>& tensors, const json& config = {{"peft_type", "LORA"}, {"r", 2}}) {
    tensor_io::write_safetensors(folder_ / "adapter_model.safetensors", tensors);
    write_file_atomically(folder_ / "adapter_config.json", config.dump());
  }

  /// Reading the folder throws an Error of `code` whose message holds `part`.
  void expect_refused(ErrorCode code, const std::string& part) {
    try {
      read_peft(folder_);
      ADD_FAILURE() << "expected an Error about " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\n  lacks: " << part;
    }
  }

  fs::path folder_;
};

TEST_F(PeftFolder, WhatIsWrittenIsReadBack) {
  for (const bool rank_stabilised : {false, true}) {
    const auto adapter = uneven_adapter(rank_stabilised);
    write_peft(folder_, adapter, "some/base");
    const auto back = read_peft(folder_);
    EXPECT_EQ(back.options.rank, 4);
    EXPECT_EQ(back.options.alpha, 8);
    EXPECT_EQ(back.options.rank_stabilised, rank_stabilised);
    EXPECT_EQ(back.options.dropout, 0.05);
    EXPECT_EQ(back.options.targets, adapter.options.targets);
    ASSERT_EQ(back.sites.size(), adapter.sites.size());
    for (const auto& [site, f] : adapter.sites) {
      const auto& g = back.sites.at(site);
      EXPECT_TRUE(g.a.equal(f.a)) << site;
      EXPECT_TRUE(g.b.equal(f.b)) << site;
      EXPECT_NEAR(g.scale, f.scale, 1e-14) << site;  // a few roundings of numbers near 1
    }
    EXPECT_EQ(identity(back), identity(adapter));
  }
}

TEST_F(PeftFolder, ASitesScaleSurvivesAnAlphaOfZero) {
  auto adapter = uneven_adapter(false);
  adapter.options.alpha = 0;  // as read from a configuration whose alpha_pattern names every site
  write_peft(folder_, adapter, "some/base");
  EXPECT_EQ(identity(read_peft(folder_)), identity(adapter));
}

TEST_F(PeftFolder, TheConfigurationSaysOnlyWhatDiffersAndSaysItForOneSite) {
  write_peft(folder_, uneven_adapter(false), "some/base");
  const auto config = json::parse(read_file(folder_ / "adapter_config.json"));
  EXPECT_EQ(config.at("peft_type"), "LORA");
  EXPECT_EQ(config.at("base_model_name_or_path"), "some/base");
  EXPECT_EQ(config.at("r"), 4);
  EXPECT_EQ(config.at("lora_alpha"), 8);
  EXPECT_EQ(config.at("target_modules"), (json{"q_proj", "k_proj", "v_proj", "o_proj"}));
  const auto keys = [](const json& object) {
    std::vector<std::string> out;
    for (const auto& [key, value] : object.items()) out.push_back(key);
    return out;
  };
  const std::string layer = R"(model\.layers\.0\.self_attn\.)", tenth = R"(model\.layers\.10\.self_attn\.q_proj)";
  EXPECT_EQ(keys(config.at("rank_pattern")), (std::vector<std::string>{layer + "k_proj", layer + "o_proj", tenth}));
  EXPECT_EQ(keys(config.at("alpha_pattern")), (std::vector<std::string>{layer + "o_proj", layer + "v_proj", tenth}));
}

TEST_F(PeftFolder, AllSitesOrAPatternAreWrittenAsPeftWantsThem) {
  const auto targets_written = [&](std::vector<std::string> targets) {
    auto adapter = uneven_adapter(false);
    adapter.options.targets = std::move(targets);
    write_peft(folder_, adapter, "some/base");
    EXPECT_NO_THROW(read_peft(folder_));
    return json::parse(read_file(folder_ / "adapter_config.json")).at("target_modules");
  };
  EXPECT_EQ(targets_written({}), (json{"k_proj", "o_proj", "q_proj", "v_proj"}));
  EXPECT_EQ(targets_written({"all-linear"}), (json{"k_proj", "o_proj", "q_proj", "v_proj"}));
  EXPECT_EQ(targets_written({R"(.*\.self_attn\..*)"}), R"(.*\.self_attn\..*)") << "a list would be plain names to PEFT";
  EXPECT_EQ(targets_written({"q_proj"}), json::array({"q_proj"})) << "plain text would be a pattern to PEFT";
}

TEST_F(PeftFolder, OtherPrecisionsAndCompiledModulesAreRead) {
  const auto a = at::randn({2, 6}), b = at::randn({5, 2});
  write({{"base_model.model._orig_mod.x.q_proj.lora_A.weight", a.to(at::kBFloat16)},
         {"base_model.model.x.q_proj.lora_B.weight", b.to(at::kHalf)}});
  const auto adapter = read_peft(folder_);
  const auto& f = adapter.sites.at("x.q_proj");
  EXPECT_EQ(f.a.scalar_type(), at::kFloat);
  EXPECT_TRUE(f.a.equal(a.to(at::kBFloat16).to(at::kFloat)));
  EXPECT_TRUE(f.b.equal(b.to(at::kHalf).to(at::kFloat)));
  EXPECT_DOUBLE_EQ(f.scale, 4.0);  // PEFT's default alpha 8 over rank 2
}

TEST_F(PeftFolder, TrainedBiasesAreAppliedAsPeftAppliesThem) {
  const std::string q = "base_model.model.x.q_proj", k = "base_model.model.x.k_proj";
  const auto a = at::randn({2, 6}), b = at::randn({5, 2}), of_b = at::randn({5}), of_q = at::randn({5}),
             of_k = at::randn({5});
  const std::vector<model::Site> sites{{"x.k_proj", 6, 5, 0, 0, model::Role::key, at::randn({5, 6}), at::randn({5})},
                                       {"x.q_proj", 6, 5, 0, 0, model::Role::query, at::randn({5, 6}), at::randn({5})}};
  const std::map<std::string, at::Tensor> factors{{q + ".lora_A.weight", a}, {q + ".lora_B.weight", b}};
  auto tensors = factors;
  tensors.insert({{q + ".base_layer.bias", of_q}, {k + ".bias", of_k}});  // what PEFT wraps, and what it does not
  json config{{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 3}, {"bias", "all"}};
  const auto x = at::randn({3, 6});
  const auto output = [&](const Adapter& given, std::size_t n) {
    const auto adapter = applied(given, sites, "test");
    return at::linear(x, sites[n].weight, sites[n].bias) + adapter.extras.at(sites[n].name).bias;
  };
  const auto near = [](const at::Tensor& one, const at::Tensor& other) {
    EXPECT_LT((one - other).abs().max().item<double>(), 1e-5);
  };
  write(tensors, config);
  const auto whole = read_peft(folder_);
  EXPECT_EQ(kinds_of(whole), (std::set<std::string>{"bitfit", "lora"}));
  near(output(whole, 0), at::linear(x, sites[0].weight, of_k));
  near(output(whole, 1), at::linear(x, sites[1].weight, of_q));
  write_peft(folder_, whole, "some/base");  // PEFT's own again
  EXPECT_EQ(json::parse(read_file(folder_ / "adapter_config.json")).at("bias"), "all");
  EXPECT_TRUE(tensor_io::open_safetensors(folder_ / "adapter_model.safetensors")->tensors().contains(k + ".bias"));
  EXPECT_EQ(identity(read_peft(folder_)), identity(whole));

  tensors.insert({q + ".lora_B.bias", of_b});
  config["lora_bias"] = true;
  write(tensors, config);
  const auto both = read_peft(folder_);
  near(output(both, 1), at::linear(x, sites[1].weight, of_q) + 1.5 * of_b);
  write_peft(folder_, both, "some/base");
  EXPECT_EQ(identity(read_peft(folder_)), identity(both));

  config["bias"] = "none";
  write(tensors, config);
  expect_refused(ErrorCode::unsupported, "'bias' of the configuration says that there is none");
  write(factors, config);
  expect_refused(ErrorCode::format, "has no lora_B.bias, which 'lora_bias' asks for");
  config["lora_bias"] = false;
  config["bias"] = "all";
  write(tensors, config);
  expect_refused(ErrorCode::unsupported, "'lora_bias' of the configuration says that there is none");
  auto bare = sites;
  for (auto& site : bare) site.bias = at::Tensor();
  EXPECT_THROW(applied(whole, bare, "test"), Error) << "a base model without biases";
}

TEST_F(PeftFolder, VeraComesWithTrainedBiasesToo) {
  const std::string q = "base_model.model.x.q_proj";
  const std::map<std::string, at::Tensor> tensors{
      {"base_model.vera_A", at::randn({2, 6})}, {"base_model.vera_B", at::randn({5, 2})},
      {q + ".vera_lambda_d", at::randn({2})},   {q + ".vera_lambda_b", at::randn({5})},
      {q + ".base_layer.bias", at::randn({5})}, {"base_model.model.x.k_proj.bias", at::randn({5})}};
  write(tensors, {{"peft_type", "VERA"}, {"bias", "all"}});
  const auto adapter = read_peft(folder_);
  EXPECT_EQ(kinds_of(adapter), (std::set<std::string>{"bitfit", "vera"}));
  EXPECT_TRUE(adapter.stored_at("x.k_proj", kTrainedBias).equal(tensors.at("base_model.model.x.k_proj.bias")));
  write_peft(folder_, adapter, "some/base");
  EXPECT_EQ(identity(read_peft(folder_)), identity(adapter));
  write(tensors, {{"peft_type", "VERA"}});
  expect_refused(ErrorCode::unsupported, ".bias'");
}

TEST_F(PeftFolder, AsManyVectorsAreReadAsTheConfigurationSays) {
  const std::map<std::string, at::Tensor> tensors{{"prompt_embeddings", at::randn({4, 6})}};
  const json config{{"peft_type", "PROMPT_TUNING"}, {"num_virtual_tokens", 2}};
  write(tensors, config);
  EXPECT_TRUE(read_peft(folder_).soft_prompt.equal(tensors.at("prompt_embeddings").narrow(0, 0, 2)));
  for (const json& count : {json(5), json(0), json("2")}) {
    write(tensors, {{"peft_type", "PROMPT_TUNING"}, {"num_virtual_tokens", count}});
    expect_refused(ErrorCode::mismatch, "'num_virtual_tokens' is " + count.dump());
  }
}

TEST_F(PeftFolder, TensorsThatAreNotHalvesOfOnePairAreRefusedByName) {
  const std::string site = "base_model.model.x.q_proj";
  const auto a = at::ones({2, 6}), b = at::ones({5, 2});
  write({{site + ".lora_A.weight", a}});
  expect_refused(ErrorCode::format, "site 'x.q_proj' has lora_A but not lora_B");
  write({{site + ".lora_A.weight", a}, {site + ".lora_B.weight", at::ones({5, 3})}});
  expect_refused(ErrorCode::mismatch, "'x.q_proj'");
  write({{site + ".lora_A.weight", a}, {site + ".lora_B.weight", b}}, {{"peft_type", "LORA"}, {"r", 3}});
  expect_refused(ErrorCode::mismatch, "site 'x.q_proj' has rank 2, the configuration says 3");
  write({{site + ".lora_A.weight", a.to(at::kInt)}, {site + ".lora_B.weight", b}});
  expect_refused(ErrorCode::format, site + ".lora_A.weight");
  write({{site + ".lora_A.weight", a},
         {site + ".lora_B.weight", b},
         {"base_model.model._orig_mod.x.q_proj.lora_B.weight", b}});
  expect_refused(ErrorCode::format, "'base_model.model._orig_mod.x.q_proj.lora_B.weight' and '" + site);
  write({{site + ".lora_A.weight", a}, {site + ".lora_B.weight", b}, {site + ".lora_magnitude_vector", b}});
  expect_refused(ErrorCode::unsupported, site + ".lora_magnitude_vector");
  write({{"x.q_proj.lora_A.weight", a}, {"x.q_proj.lora_B.weight", b}});
  expect_refused(ErrorCode::unsupported, "'x.q_proj.lora_A.weight'");
}

TEST_F(PeftFolder, PickledWeightsAreReadWithoutRunningThem) {
  const auto a = at::randn({2, 6}), b = at::randn({4, 2});
  write({{"base_model.model.x.q_proj.lora_A.weight", a}, {"base_model.model.x.q_proj.lora_B.weight", b}});
  fs::remove(folder_ / "adapter_model.safetensors");
  tensor_io::write_torch_archive(folder_ / "adapter_model.bin", {{"base_model.model.x.q_proj.lora_A.weight", a},
                                                                 {"base_model.model.x.q_proj.lora_B.weight", b}});
  const auto factors = read_peft(folder_).sites.at("x.q_proj");
  EXPECT_TRUE(factors.a.equal(a));
  EXPECT_TRUE(factors.b.equal(b));
}

TEST_F(PeftFolder, AFolderWithoutWeightsIsRefused) {
  expect_refused(ErrorCode::not_found, "no adapter_model.safetensors");
  write({{"base_model.model.x.q_proj.lora_A.weight", at::ones({2, 6})}});
  fs::remove(folder_ / "adapter_model.safetensors");
  write_file_atomically(folder_ / "adapter_model.bin", "no archive");
  expect_refused(ErrorCode::format, "adapter_model.bin");
  fs::remove(folder_ / "adapter_model.bin");
  write({{"base_model.model.x.q_proj.lora_A.weight", at::ones({2, 6})}});
  fs::remove(folder_ / "adapter_config.json");
  expect_refused(ErrorCode::not_found, "adapter_config.json");
}

TEST(Identity, IsTheHashThatTheFormatDescribes) {
  Adapter adapter;
  adapter.sites["x.k"] = {at::ones({1, 3}), at::ones({2, 1}) * 2, 0.5};
  adapter.sites["x.q"] = {at::ones({2, 1}) * -1, at::ones({1, 2}), 1.0 / 3.0};
  const auto floats = [](std::vector<float> values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  };
  EXPECT_EQ(identity(adapter), sha256_hex("x.k 1 3 2 0.5\n" + floats({1, 1, 1, 2, 2}) + "x.q 2 1 1 0.333333333\n" +
                                          floats({-1, -1, 1, 1})));
}

TEST(Identity, ChangesWithEveryValueScaleAndNameAndWithNothingElse) {
  const auto adapter = uneven_adapter(false);
  const auto original = identity(adapter);
  const auto site = kAttention + "k_proj";
  const auto with = [&](auto change) {
    auto copy = adapter;
    for (auto& [name, f] : copy.sites) f = {f.a.clone(), f.b.clone(), f.scale};
    change(copy);
    return identity(copy);
  };
  // By the smallest step there is, in the first and the last value of a factor.
  const auto nudge = [](at::Tensor factor, std::int64_t i) {
    auto& value = factor.data_ptr<float>()[i];
    value = std::nextafter(value, 100.0f);
  };
  for (const std::int64_t i : {0, 2}) EXPECT_NE(with([&](Adapter& c) { nudge(c.sites[site].a, i); }), original);
  for (const std::int64_t i : {0, 6}) EXPECT_NE(with([&](Adapter& c) { nudge(c.sites[site].b, i); }), original);
  EXPECT_NE(with([&](Adapter& c) { c.sites[site].scale *= 1.0 + 1e-7; }), original);
  EXPECT_NE(with([&](Adapter& c) { c.sites.erase(site); }), original);
  EXPECT_NE(with([&](Adapter& c) {
              auto node = c.sites.extract(site);
              node.key() = kAttention + "k_pro";
              c.sites.insert(std::move(node));
            }),
            original);
  EXPECT_NE(with([&](Adapter& c) { c.sites[site].a = c.sites[site].a.view({3, 1}); }), original) << "same bytes";

  EXPECT_EQ(with([](Adapter&) {}), original);
  EXPECT_EQ(with([](Adapter& c) { c.options = {}; }), original);
  EXPECT_EQ(with([&](Adapter& c) { c.sites[site].b = c.sites[site].b.t().contiguous().t(); }), original) << "layout";
  EXPECT_EQ(with([&](Adapter& c) { c.sites[site].a.set_requires_grad(true); }), original);
}

}  // namespace
}  // namespace quiver::adapter
