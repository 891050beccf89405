// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/llama.h"

#include <ATen/ops/cat.h>

#include <map>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::model::llama {
namespace {

struct SiteSpec {
  const char* name;
  std::int64_t out;
};

/// Loads the maps of `specs` (all reading `in` inputs) as one fused Linear and records their sites.
Linear fused(const std::string& layer_prefix, const std::vector<SiteSpec>& specs, std::int64_t in, bool bias,
             std::int64_t layer, WeightReader& reader, std::vector<Site>& sites) {
  Linear linear;
  std::vector<at::Tensor> weights, biases;
  std::int64_t begin = 0;
  for (const auto& spec : specs) {
    const auto name = layer_prefix + spec.name;
    weights.push_back(reader.take(name + ".weight", {spec.out, in}));
    if (bias) biases.push_back(reader.take(name + ".bias", {spec.out}));
    linear.sites.push_back({static_cast<std::int64_t>(sites.size()), begin, spec.out});
    sites.push_back({name, in, spec.out, layer});
    begin += spec.out;
  }
  linear.weight = weights.size() == 1 ? weights[0].contiguous() : at::cat(weights, 0);
  if (bias) linear.bias = at::cat(biases, 0);
  return linear;
}

DecoderLayer load_layer(const DecoderConfig& c, std::int64_t index, WeightReader& reader, std::vector<Site>& sites) {
  const auto prefix = fmt::format("model.layers.{}.", index);
  const auto q = c.heads * c.head_width, kv = c.kv_heads * c.head_width;
  DecoderLayer layer;
  layer.attention_norm = reader.take(prefix + "input_layernorm.weight", {c.hidden}).to(at::kFloat);
  layer.mlp_norm = reader.take(prefix + "post_attention_layernorm.weight", {c.hidden}).to(at::kFloat);
  layer.query_key_value = fused(prefix, {{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}},
                                c.hidden, c.attention_bias, index, reader, sites);
  layer.output = fused(prefix, {{"self_attn.o_proj", c.hidden}}, q, c.attention_bias, index, reader, sites);
  layer.gate_up = fused(prefix, {{"mlp.gate_proj", c.feed_forward}, {"mlp.up_proj", c.feed_forward}}, c.hidden,
                        c.mlp_bias, index, reader, sites);
  layer.down = fused(prefix, {{"mlp.down_proj", c.hidden}}, c.feed_forward, c.mlp_bias, index, reader, sites);
  return layer;
}

const std::map<std::string, std::string>& gguf_layer_names() {
  static const std::map<std::string, std::string> names{
      {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
  };
  return names;
}

}  // namespace

std::string gguf_name(const std::string& name) {
  if (name == "model.embed_tokens.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "lm_head.weight") return "output.weight";
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return "";
  const auto after_number = name.find('.', prefix.size());
  const auto kind = name.rfind('.');
  if (after_number == std::string::npos || kind <= after_number) return "";
  const auto module = gguf_layer_names().find(name.substr(after_number + 1, kind - after_number - 1));
  if (module == gguf_layer_names().end()) return "";
  return "blk." + name.substr(prefix.size(), after_number - prefix.size()) + "." + module->second + name.substr(kind);
}

at::Tensor from_gguf_layout(const DecoderConfig& config, const std::string& name, at::Tensor tensor) {
  const bool q = name.ends_with("q_proj.weight"), k = name.ends_with("k_proj.weight");
  if (!q && !k) return tensor;
  const auto heads = q ? config.heads : config.kv_heads;
  return tensor.view({heads, config.head_width / 2, 2, tensor.size(1)}).transpose(1, 2).reshape(tensor.sizes());
}

LanguageModel load(const DecoderConfig& config, WeightReader& reader, const std::string& where) {
  LanguageModel::Weights weights;
  std::vector<Site> sites;
  weights.embedding = reader.take("model.embed_tokens.weight", {config.vocabulary, config.hidden}).contiguous();
  for (std::int64_t i = 0; i < config.layers; ++i) weights.layers.push_back(load_layer(config, i, reader, sites));
  weights.final_norm = reader.take("model.norm.weight", {config.hidden}).to(at::kFloat);
  weights.head = config.tied_head ? weights.embedding
                                  : reader.take("lm_head.weight", {config.vocabulary, config.hidden}).contiguous();
  reader.check_all_taken(where);
  return LanguageModel(config, std::move(weights), std::move(sites), reader.fingerprint());
}

}  // namespace quiver::model::llama
