// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/model/families/config_fields.h"
#include "quiver/model/families/llama.h"
#include "quiver/model/families/rotary_config.h"

namespace quiver::model::llama {
namespace {

using nlohmann::json;

/// What Mistral's configuration has otherwise: other defaults, no biases, and a window, which must not bind.
void read_mistral(const json& config, DecoderConfig& out, const std::string& where) {
  constexpr const char *kHeads = "num_key_value_heads", *kWindow = "sliding_window";
  if (!config.contains(kHeads)) out.kv_heads = 8;
  out.max_positions = field<std::int64_t>(config, "max_position_embeddings", where, 131072);
  out.attention_bias = out.mlp_bias = false;
  const auto window = config.contains(kWindow) ? field<std::int64_t>(config, kWindow, where, out.max_positions) : 4096;
  QUIVER_CHECK(window >= out.max_positions, unsupported, where,
               "attention over a window of {} tokens of a context of {}, expected '{}': null", window,
               out.max_positions, kWindow);
}

/// Refuses metadata that changes attention, or what a layer is made of, in a way that is not read.
void check_attention(const tensor_io::GgufFile& file, const std::string& architecture, const std::string& where) {
  const auto prefix = architecture + ".attention.";
  constexpr std::array kRead{"head_count",   "head_count_kv",      "key_length",
                             "value_length", "layer_norm_epsilon", "layer_norm_rms_epsilon"};
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const auto name = key.substr(prefix.size());
    const auto* causal = std::get_if<bool>(&value);
    const auto* window = std::get_if<std::int64_t>(&value);
    const bool binds_nothing = (name == "causal" && causal && *causal) ||
                               (name == "sliding_window" && window &&
                                (*window == 0 || *window >= file.integer(architecture + ".context_length")));
    QUIVER_CHECK(binds_nothing || std::find(kRead.begin(), kRead.end(), name) != kRead.end(), unsupported, where,
                 "metadata '{}' changes attention in a way that is not read", key);
  }
  const auto experts = file.find_integer(architecture + ".expert_count").value_or(0);
  QUIVER_CHECK(experts == 0, unsupported, where, "feed-forward blocks of {} experts ('{}.expert_count'), expected one",
               experts, architecture);
}

}  // namespace

DecoderConfig config_of_json(const json& config, const std::string& where) {
  QUIVER_CHECK(config.is_object(), format, where, "expected a JSON object");
  DecoderConfig out;
  const auto name = architecture_of(config);
  const bool mistral = name == "MistralForCausalLM" || name == "mistral";
  out.architecture = mistral ? "MistralForCausalLM" : "LlamaForCausalLM";
  out.vocabulary = field<std::int64_t>(config, "vocab_size", where);
  out.hidden = field<std::int64_t>(config, "hidden_size", where);
  out.layers = field<std::int64_t>(config, "num_hidden_layers", where);
  out.heads = field<std::int64_t>(config, "num_attention_heads", where);
  out.kv_heads = field<std::int64_t>(config, "num_key_value_heads", where, out.heads);
  QUIVER_CHECK(out.heads > 0, format, where, "'num_attention_heads' is {}, expected at least 1", out.heads);
  out.head_width = field<std::int64_t>(config, "head_dim", where, out.hidden / out.heads);
  out.feed_forward = field<std::int64_t>(config, "intermediate_size", where);
  out.max_positions = field<std::int64_t>(config, "max_position_embeddings", where, 2048);
  out.norm_epsilon = field<double>(config, "rms_norm_eps", where, 1e-6);
  out.tied_head = field<bool>(config, "tie_word_embeddings", where, false);
  out.attention_bias = field<bool>(config, "attention_bias", where, false);
  out.mlp_bias = field<bool>(config, "mlp_bias", where, false);
  const auto activation = field<std::string>(config, "hidden_act", where, "silu");
  QUIVER_CHECK(activation == "silu" || activation == "swish", unsupported, where,
               "activation '{}', the Llama family has silu", activation);
  if (mistral) read_mistral(config, out, where);
  read_rotary(config, where, out);
  check(out, where);
  return out;
}

DecoderConfig config_of_gguf(const tensor_io::GgufFile& file, const std::string& where) {
  DecoderConfig out;
  const std::string architecture = "llama";
  check_attention(file, architecture, where);
  const auto integer = [&](const char* key) { return file.integer(architecture + "." + key); };
  out.architecture = "LlamaForCausalLM";
  const auto embedding = file.tensors().find("token_embd.weight");
  QUIVER_CHECK(embedding != file.tensors().end() && embedding->second.shape.size() == 2, format, where,
               "tensor 'token_embd.weight' [V, D] is missing");
  out.vocabulary = embedding->second.shape[0];
  out.hidden = integer("embedding_length");
  out.layers = integer("block_count");
  out.heads = integer("attention.head_count");
  QUIVER_CHECK(out.heads > 0, format, where, "'llama.attention.head_count' is {}, expected at least 1", out.heads);
  out.kv_heads = file.find_integer("llama.attention.head_count_kv").value_or(out.heads);
  out.head_width = file.find_integer("llama.attention.key_length").value_or(out.hidden / out.heads);
  out.feed_forward = integer("feed_forward_length");
  out.max_positions = integer("context_length");
  out.norm_epsilon = file.number("llama.attention.layer_norm_rms_epsilon");
  read_rotary(file, architecture, where, out);
  out.tied_head = !file.tensors().contains("output.weight");
  check(out, where);
  return out;
}

}  // namespace quiver::model::llama
