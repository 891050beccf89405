// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/llama.h"

#include <map>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/model/decoder.h"
#include "quiver/model/families/layer_parts.h"

namespace quiver::model::llama {
namespace {

DecoderLayer load_layer(const DecoderConfig& c, std::int64_t index, WeightReader& reader, std::vector<Site>& sites,
                        std::vector<Norm>& norms) {
  const auto prefix = fmt::format("model.layers.{}.", index);
  const auto q = c.heads * c.head_width, kv = c.kv_heads * c.head_width;
  DecoderLayer layer;
  layer.attention_norm = load_norm(prefix + "input_layernorm", c.hidden, index, reader, norms);
  layer.mlp_norm = load_norm(prefix + "post_attention_layernorm", c.hidden, index, reader, norms);
  layer.query_key_value =
      load_sites(prefix, {{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}}, c.hidden,
                 c.attention_bias, index, reader, sites);
  layer.output = load_sites(prefix, {{"self_attn.o_proj", c.hidden}}, q, c.attention_bias, index, reader, sites);
  layer.gate_up = load_sites(prefix, {{"mlp.gate_proj", c.feed_forward}, {"mlp.up_proj", c.feed_forward}}, c.hidden,
                             c.mlp_bias, index, reader, sites);
  layer.down = load_sites(prefix, {{"mlp.down_proj", c.hidden}}, c.feed_forward, c.mlp_bias, index, reader, sites);
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
  Decoder::Weights weights;
  std::vector<Site> sites;
  std::vector<Norm> norms;
  weights.embedding = reader.take("model.embed_tokens.weight", {config.vocabulary, config.hidden}).contiguous();
  for (std::int64_t i = 0; i < config.layers; ++i)
    weights.layers.push_back(load_layer(config, i, reader, sites, norms));
  weights.final_norm = load_norm("model.norm", config.hidden, config.layers - 1, reader, norms);
  weights.head = config.tied_head ? weights.embedding
                                  : reader.take("lm_head.weight", {config.vocabulary, config.hidden}).contiguous();
  reader.check_all_taken(where);
  return {std::make_shared<Decoder>(config, std::move(weights)), std::move(sites), std::move(norms),
          reader.fingerprint()};
}

}  // namespace quiver::model::llama
