// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/model/families/llama.h"
#include "quiver/model/rotary.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/test_gguf.h"

namespace quiver::model::llama {
namespace {

using nlohmann::json;

json small(json keys = json::object()) {
  json out{{"architectures", {"LlamaForCausalLM"}},
           {"vocab_size", 96},
           {"hidden_size", 64},
           {"num_hidden_layers", 1},
           {"num_attention_heads", 4},
           {"intermediate_size", 48},
           {"max_position_embeddings", 256}};
  out.update(keys);
  return out;
}

void expect_refused(const json& keys, const std::string& part) {
  try {
    config_of_json(small(keys), "config.json");
    ADD_FAILURE() << "accepted: " << keys.dump();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(LlamaConfig, RotarySettingsAreReadAsTransformersReadsThem) {
  const auto file = fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "rope.json";
  const auto golden = json::parse(read_file(file, 1 << 20));
  std::size_t compared = 0;
  for (const auto& entry : golden["cases"]) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    if (entry["name"] == "scaling without a kind") continue;  // transformers passes over the factor; refused here
    const auto config = config_of_json(entry["config"], "config.json");
    const auto expected = at::tensor(entry["frequencies"].get<std::vector<double>>(), at::kDouble);
    const auto difference = RotaryTable(config).frequencies().to(at::kDouble) / expected - 1.0;
    // Powers and quotients of float32 there, of float64 here.
    EXPECT_LT(difference.abs().max().item<double>(), 2e-6);
    EXPECT_NEAR(config.rotary_scaling.scale, entry["scale"].get<double>(), 1e-9);
    ++compared;
  }
  EXPECT_EQ(compared, 31u);
}

TEST(LlamaConfig, RotarySettingsThatAreNotUnderstoodAreRefused) {
  expect_refused({{"rope_scaling", {{"rope_type", "su"}, {"factor", 2.0}}}}, "rotary scaling 'su'");
  expect_refused({{"rope_scaling", {{"type", "longrope"}, {"factor", 2.0}}}}, "rotary scaling 'longrope'");
  expect_refused({{"rope_scaling", {{"factor", 2.0}}}}, "without a kind");
  expect_refused({{"rope_parameters", {{"rope_type", "default"}, {"factor", 2.0}}}}, "without a kind");
  expect_refused({{"rope_scaling", "linear"}}, "expected an object");
  expect_refused({{"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}}, "'full_attention' alone");
  expect_refused({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor = 0.5");
  expect_refused({{"rope_scaling", {{"type", "linear"}}}}, "'factor' is missing");
  for (const double factor : {0.0, -2.0}) {
    expect_refused({{"rope_scaling", {{"type", "linear"}, {"factor", factor}}}}, "'factor' is");
    expect_refused({{"rope_scaling", {{"type", "yarn"}, {"factor", factor}}}}, "'factor' is");
    expect_refused({{"rope_theta", factor}}, "'rope_theta' is");
  }
  expect_refused({{"rope_scaling",
                   {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 4.0}}}},
                 "expected more than low_freq_factor");
}

/// GGUF metadata of a small model with further entries.
DecoderConfig config_of_metadata(const tensor_io::TestFolder& folder, const std::vector<std::string>& further) {
  namespace gguf = tensor_io::test_gguf;
  std::vector<std::string> entries{gguf::text_entry("general.architecture", "llama"),
                                   gguf::whole_entry("llama.embedding_length", 64),
                                   gguf::whole_entry("llama.block_count", 1),
                                   gguf::whole_entry("llama.attention.head_count", 4),
                                   gguf::whole_entry("llama.feed_forward_length", 48),
                                   gguf::whole_entry("llama.context_length", 256),
                                   gguf::real_entry("llama.attention.layer_norm_rms_epsilon", 1e-5f)};
  entries.insert(entries.end(), further.begin(), further.end());
  const auto path = folder.file(
      "m.gguf",
      gguf::file_bytes(
          {.entries = entries, .tensors = {gguf::tensor("token_embd.weight", {64, 2}, 0, 0)}, .data_bytes = 512}));
  return config_of_gguf(*tensor_io::GgufFile::open(path), "m.gguf");
}

TEST(LlamaConfig, RotaryMetadataIsAppliedAsLlamaCppDoes) {
  using tensor_io::test_gguf::real_entry, tensor_io::test_gguf::text_entry, tensor_io::test_gguf::whole_entry;
  using Kind = RotaryScaling::Kind;
  const tensor_io::TestFolder folder;
  const auto read = [&](const std::vector<std::string>& entries) {
    return config_of_metadata(folder, entries).rotary_scaling;
  };
  const auto type = [](const char* name) { return text_entry("llama.rope.scaling.type", name); };
  const auto factor = real_entry("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(read({}).kind, Kind::none);
  EXPECT_EQ(read({type("none"), factor}).kind, Kind::none);
  EXPECT_EQ(read({type("linear"), factor}).factor, 4.0);
  EXPECT_EQ(read({factor}).kind, Kind::linear);
  EXPECT_EQ(read({real_entry("llama.rope.scale_linear", 2.0f)}).factor, 2.0);
  EXPECT_EQ(read({real_entry("llama.rope.scaling.factor", 0.0f)}).kind, Kind::none);
  EXPECT_EQ(read({real_entry("llama.rope.scaling.attn_factor", 0.5f)}).scale, 0.5);
  const auto yarn = read({type("yarn"), factor, whole_entry("llama.rope.scaling.original_context_length", 64)});
  EXPECT_EQ(yarn.kind, Kind::yarn);
  EXPECT_EQ(yarn.original_positions, 64.0);
  EXPECT_NEAR(yarn.scale, 1.0 + 0.1 * std::log(4.0), 1e-12);
  EXPECT_EQ(config_of_metadata(folder, {real_entry("llama.rope.freq_base", 5e5f)}).rotary_base, 5e5);
}

TEST(LlamaConfig, MetadataThatWouldChangeAttentionIsRefused) {
  using tensor_io::test_gguf::real_entry, tensor_io::test_gguf::text_entry, tensor_io::test_gguf::whole_entry;
  const tensor_io::TestFolder folder;
  const std::pair<std::string, std::string> refused[] = {
      {text_entry("llama.rope.scaling.type", "longrope"), "rotary scaling 'longrope'"},
      {real_entry("llama.rope.scaling.factor", -1.0f), "llama.rope.scaling.factor"},
      {real_entry("llama.rope.scaling.yarn_beta_fast", 8.0f), "llama.rope.scaling.yarn_beta_fast"},
      {real_entry("llama.rope.freq_base", 0.0f), "llama.rope.freq_base"},
      {whole_entry("llama.rope.dimension_count", 8), "8 of the 16 numbers"},
      {whole_entry("llama.attention.sliding_window", 128), "llama.attention.sliding_window"},
      {real_entry("llama.attention.clamp_kqv", 4.0f), "llama.attention.clamp_kqv"},
      {whole_entry("llama.expert_count", 8), "8 experts"},
  };
  for (const auto& [entry, message] : refused)
    tensor_io::expect_error(tensor_io::error_of([&] { config_of_metadata(folder, {entry}); }).code(), message,
                            [&] { config_of_metadata(folder, {entry}); });
  EXPECT_NO_THROW(config_of_metadata(folder, {whole_entry("llama.attention.sliding_window", 256)}));
  EXPECT_NO_THROW(config_of_metadata(folder, {whole_entry("llama.rope.dimension_count", 16)}));
}

TEST(LlamaConfig, MistralIsReadWhereItsWindowDoesNotBind) {
  const auto mistral = [](json keys) {
    keys["architectures"] = {"MistralForCausalLM"};
    return small(keys);
  };
  const auto config = config_of_json(mistral({{"sliding_window", nullptr}, {"num_attention_heads", 8}}), "config.json");
  EXPECT_EQ(config.kv_heads, 8);  // its default, where Llama's is that of the heads
  EXPECT_EQ(config.architecture, "MistralForCausalLM");
  EXPECT_EQ(config_of_json(mistral({{"num_key_value_heads", 2}}), "config.json").kv_heads, 2);
  EXPECT_NO_THROW(config_of_json(mistral({{"num_key_value_heads", 2}, {"sliding_window", 256}}), "config.json"));
  const auto narrow = mistral({{"num_key_value_heads", 2}, {"sliding_window", 255}});
  EXPECT_THROW(config_of_json(narrow, "config.json"), Error);
  // Beyond 4096, its default window binds.
  EXPECT_THROW(config_of_json(mistral({{"num_key_value_heads", 2}, {"max_position_embeddings", 8192}}), "config.json"),
               Error);
}

}  // namespace
}  // namespace quiver::model::llama
