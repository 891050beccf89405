// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/model/families/config_fields.h"
#include "quiver/model/families/llama.h"

namespace quiver::model::llama {
namespace {

using nlohmann::json;

RotaryScaling scaling_of(const json& parameters, const std::string& where) {
  RotaryScaling scaling;
  const auto old_key = field<std::string>(parameters, "type", where, "default");
  const auto kind = field<std::string>(parameters, "rope_type", where, old_key);
  if (kind == "default") return scaling;
  QUIVER_CHECK(kind == "linear" || kind == "llama3", unsupported, where,
               "rotary scaling '{}', expected default, linear or llama3", kind);
  scaling.factor = field<double>(parameters, "factor", where);
  scaling.kind = RotaryScaling::Kind::linear;
  if (kind == "llama3") {
    scaling.kind = RotaryScaling::Kind::llama3;
    scaling.low_frequency_factor = field<double>(parameters, "low_freq_factor", where);
    scaling.high_frequency_factor = field<double>(parameters, "high_freq_factor", where);
    scaling.original_positions = field<double>(parameters, "original_max_position_embeddings", where);
  }
  return scaling;
}

/// transformers 5 keeps rotary settings in `rope_parameters`, transformers 4 in `rope_theta` and `rope_scaling`.
void read_rotary(const json& config, DecoderConfig& out, const std::string& where) {
  if (const auto found = config.find("rope_parameters"); found != config.end() && found->is_object()) {
    out.rotary_base = field<double>(*found, "rope_theta", where, 10000.0);
    out.rotary_scaling = scaling_of(*found, where);
    QUIVER_CHECK(field<double>(*found, "partial_rotary_factor", where, 1.0) == 1.0, unsupported, where,
                 "partial rotary positions are not part of the Llama family");
    return;
  }
  out.rotary_base = field<double>(config, "rope_theta", where, 10000.0);
  if (const auto found = config.find("rope_scaling"); found != config.end() && found->is_object()) {
    out.rotary_scaling = scaling_of(*found, where);
  }
}

}  // namespace

DecoderConfig config_of_json(const json& config, const std::string& where) {
  QUIVER_CHECK(config.is_object(), format, where, "expected a JSON object");
  DecoderConfig out;
  out.architecture = "LlamaForCausalLM";
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
  QUIVER_CHECK(activation == "silu", unsupported, where, "activation '{}', the Llama family has silu", activation);
  read_rotary(config, out, where);
  check(out, where);
  return out;
}

DecoderConfig config_of_gguf(const tensor_io::GgufFile& file, const std::string& where) {
  DecoderConfig out;
  const auto architecture = file.text("general.architecture");
  QUIVER_CHECK(architecture == "llama", unsupported, where, "GGUF architecture '{}', expected 'llama'", architecture);
  const auto integer = [&](const char* key) { return file.integer(std::string("llama.") + key); };
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
  out.rotary_base = file.find_number("llama.rope.freq_base").value_or(10000.0);
  if (const auto scaling = file.find_text("llama.rope.scaling.type"); scaling && *scaling != "none") {
    QUIVER_CHECK(*scaling == "linear", unsupported, where, "rotary scaling '{}', expected none or linear", *scaling);
    out.rotary_scaling.kind = RotaryScaling::Kind::linear;
    out.rotary_scaling.factor = file.number("llama.rope.scaling.factor");
  }
  out.tied_head = !file.tensors().contains("output.weight");
  check(out, where);
  return out;
}

}  // namespace quiver::model::llama
