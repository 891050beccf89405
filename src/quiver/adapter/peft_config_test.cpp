// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

using json = nlohmann::ordered_json;  // the order of patterns has a meaning

/// A configuration of rank 4 and alpha 8 with `change`d keys.
PeftConfig parsed(const json& change = json::object()) {
  json config{{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}};
  config.update(change);
  return parse_peft_config(config.dump(), "adapter_config.json");
}

/// A configuration with `change` is refused by one line that holds `part`.
void expect_refused(ErrorCode code, const std::string& part, const json& change) {
  try {
    parsed(change);
    ADD_FAILURE() << "expected an Error for " << change;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), code) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message << "\n  lacks: " << part;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(PeftConfig, MissingKeysHavePeftsDefaults) {
  const auto config = parse_peft_config(R"({"peft_type": "LORA"})", "adapter_config.json");
  EXPECT_EQ(config.options.rank, 8);
  EXPECT_EQ(config.options.alpha, 8);
  EXPECT_FALSE(config.options.rank_stabilised);
  EXPECT_EQ(config.options.dropout, 0);
  EXPECT_TRUE(config.options.targets.empty());
}

TEST(PeftConfig, ReadsWhatItHonours) {
  const auto config = parsed({{"use_rslora", true},
                              {"lora_dropout", 0.25},
                              {"target_modules", {"q_proj", "v_proj"}},
                              {"base_model_name_or_path", "some/base"}});
  EXPECT_TRUE(config.options.rank_stabilised);
  EXPECT_EQ(config.options.dropout, 0.25);
  EXPECT_EQ(config.options.targets, (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(config.base_model, "some/base");
  EXPECT_DOUBLE_EQ(config.scale_of("a.q_proj"), 8 / std::sqrt(4.0));
  EXPECT_DOUBLE_EQ(parsed().scale_of("a.q_proj"), 8 / 4.0);
}

TEST(PeftConfig, TheFirstPatternThatMatchesDecides) {
  const auto config = parsed({{"rank_pattern", {{"layers.1.q_proj", 2}, {"q_proj", 16}}},
                              {"alpha_pattern", {{"(k|v)_proj", 3}, {"v_proj", 100}}}});
  EXPECT_EQ(config.rank_of("model.layers.1.q_proj"), 2);
  EXPECT_EQ(config.rank_of("model.layers.0.q_proj"), 16);
  EXPECT_EQ(config.rank_of("q_proj"), 16);
  EXPECT_EQ(config.rank_of("model.layers.0.k_proj"), 4);
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.1.q_proj"), 8 / 2.0);
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.v_proj"), 3 / 4.0);
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.o_proj"), 8 / 4.0);
}

TEST(PeftConfig, PatternsMatchWholeWordsUpToTheEnd) {
  const auto config = parsed({{"rank_pattern", {{"proj", 2}, {"model.layers", 3}}}});
  EXPECT_EQ(config.rank_of("model.layers.0.q_proj"), 4) << "neither the end of a word nor the beginning of a path";
  EXPECT_EQ(config.rank_of("model.layers.0.proj"), 2);
}

TEST(PeftConfig, RankAndScaleOfRankStabilisedPatterns) {
  const auto config =
      parsed({{"use_rslora", true}, {"rank_pattern", {{"q_proj", 9}}}, {"alpha_pattern", {{"q_proj", 6}}}});
  EXPECT_DOUBLE_EQ(config.scale_of("a.q_proj"), 6 / std::sqrt(9.0));
  EXPECT_DOUBLE_EQ(config.scale_of("a.k_proj"), 8 / std::sqrt(4.0));
}

TEST(PeftConfig, AnUnknownKeyIsRefusedByNameUnlessItIsSwitchedOff) {
  for (const json& off : {json(nullptr), json(false), json::object(), json::array()}) {
    EXPECT_NO_THROW(parsed({{"key_of_tomorrow", off}})) << off;
  }
  for (const json& on : {json(true), json(0), json(""), json("x"), json({{"a", 1}}), json({1})}) {
    expect_refused(ErrorCode::unsupported, "'key_of_tomorrow'", {{"key_of_tomorrow", on}});
  }
  for (const char* key : {"use_qalora", "target_parameters", "layer_replication", "trainable_token_indices"}) {
    expect_refused(ErrorCode::unsupported, "'" + std::string(key) + "'", {{key, json::array({1})}});
  }
}

TEST(PeftConfig, ValuesThatChangeTheResultAreRefusedByName) {
  expect_refused(ErrorCode::unsupported, "'peft_type'", {{"peft_type", "IA3"}});
  expect_refused(ErrorCode::unsupported, "'bias'", {{"bias", "some"}});
  for (const char* bias : {"none", "all", "lora_only"}) EXPECT_NO_THROW(parsed({{"bias", bias}})) << bias;
  for (const char* init : {"pissa", "pissa_niter_4", "olora", "loftq", "corda"}) {
    expect_refused(ErrorCode::unsupported, "'init_lora_weights'", {{"init_lora_weights", init}});
  }
  for (const json& init : {json(true), json(false), json("gaussian"), json("orthogonal"), json("eva")}) {
    EXPECT_NO_THROW(parsed({{"init_lora_weights", init}})) << init;
  }
}

TEST(PeftConfig, AnEvaAdapterComesWithItsSettings) {
  // PEFT always writes them; they say how the first values were found, and nothing of what the adapter computes.
  EXPECT_NO_THROW(parsed({{"init_lora_weights", "eva"}, {"eva_config", {{"rho", 2.0}, {"tau", 0.99}}}}));
}

TEST(PeftConfig, SettingsOfWaysToStartSayNothingWhereTheAdapterStartedPlainly) {
  for (const char* key : {"loftq_config", "corda_config", "lora_ga_config", "velora_config"}) {
    EXPECT_NO_THROW(parsed({{"init_lora_weights", true}, {key, {{"bits", 4}}}})) << key;
  }
  expect_refused(ErrorCode::unsupported, "'init_lora_weights'",
                 {{"init_lora_weights", "loftq"}, {"loftq_config", {{"loftq_bits", 4}}}});
}

TEST(PeftConfig, AdaLoraHasItsOwnRankScaleAndKeys) {
  const json keys{{"peft_type", "ADALORA"},
                  {"init_r", 12},
                  {"r", 8},
                  {"target_r", 4},
                  {"lora_alpha", 24},
                  {"rank_pattern", {{"q_proj", {true, false}}}},
                  {"tinit", 10},
                  {"total_step", 100}};
  const auto config = parsed(keys);
  EXPECT_TRUE(config.adaptive);
  EXPECT_EQ(config.rank_of("q_proj"), 12);
  EXPECT_DOUBLE_EQ(config.scale_of("q_proj"), 24 / (12 + 1e-5));
  expect_refused(ErrorCode::unsupported, "'tinit'", {{"tinit", 10}});
  expect_refused(ErrorCode::unsupported, "'peft_type'", {{"peft_type", "LOHA"}});
}

TEST(PeftConfig, IllTypedValuesAreFormatErrorsByName) {
  for (const json& rank : {json(0), json(-4), json(2.5), json(65537), json("4"), json(nullptr)}) {
    expect_refused(ErrorCode::format, "'r'", {{"r", rank}});
  }
  expect_refused(ErrorCode::format, "'lora_alpha'", {{"lora_alpha", "8"}});
  expect_refused(ErrorCode::format, "'lora_dropout'", {{"lora_dropout", true}});
  expect_refused(ErrorCode::format, "'use_rslora'", {{"use_rslora", 1}});
  expect_refused(ErrorCode::format, "'target_modules'", {{"target_modules", 3}});
  expect_refused(ErrorCode::format, "'target_modules'", {{"target_modules", {"q_proj", 3}}});
  expect_refused(ErrorCode::format, "'rank_pattern'", {{"rank_pattern", {1, 2}}});
  expect_refused(ErrorCode::format, "'rank_pattern.q_proj'", {{"rank_pattern", {{"q_proj", 1.5}}}});
  expect_refused(ErrorCode::format, "'alpha_pattern.q_proj'", {{"alpha_pattern", {{"q_proj", "2"}}}});
  expect_refused(ErrorCode::format, "does not compile", {{"alpha_pattern", {{"(q_proj", 2}}}});
  EXPECT_THROW(parse_peft_config("[]", "adapter_config.json"), Error);
  EXPECT_THROW(parse_peft_config("{", "adapter_config.json"), Error);
}

TEST(PeftConfig, APatternThatTakesTooLongIsAnErrorAndNotAHang) {
  const auto config = parsed({{"rank_pattern", {{"((a|.)*)*[!?]", 16}}}, {"alpha_pattern", {{"((a|b|.)+)+[!?]", 3}}}});
  const std::string site = "model.layers.0.self_attn.q_proj";
  for (const auto& ask :
       std::vector<std::function<void()>>{[&] { config.rank_of(site); }, [&] { config.scale_of(site); }}) {
    try {
      ask();
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::format);
      EXPECT_NE(std::string(error.what()).find("_pattern"), std::string::npos) << error.what();
    }
  }
  json many = json::object();
  for (int i = 0; i < 300; ++i) many["layers\\.(" + std::to_string(i) + ")\\.q_proj"] = 2;
  expect_refused(ErrorCode::unsupported, "'rank_pattern'", {{"rank_pattern", many}});
}

TEST(PeftConfig, NamesOfModulesMayBeAnyNumberOfPatterns) {
  json ranks = json::object();
  for (int i = 0; i < 3000; ++i) ranks["model.layers." + std::to_string(i) + ".q_proj"] = i + 1;
  const auto config = parsed({{"rank_pattern", ranks}});
  EXPECT_EQ(config.rank_of("model.layers.0.q_proj"), 1);
  EXPECT_EQ(config.rank_of("model.layers.2999.q_proj"), 3000);
  EXPECT_EQ(config.rank_of("decoder.model.layers.7.q_proj"), 8);
  EXPECT_EQ(config.rank_of("model_layers.7.q_proj"), 8) << "a dot stands for any letter, as in Python";
  EXPECT_EQ(config.rank_of("xmodel.layers.7.q_proj"), config.options.rank);
}

}  // namespace
}  // namespace quiver::adapter
