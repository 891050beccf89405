// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/llama.h"

#include <map>
#include <nlohmann/json.hpp>

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
  const BlockPlace attention{prefix + "self_attn.", index, 2 * index}, mlp{prefix + "mlp.", index, 2 * index + 1};
  layer.query_key_value =
      load_sites(attention, {{"q_proj", q, Role::query}, {"k_proj", kv, Role::key}, {"v_proj", kv, Role::value}},
                 c.hidden, c.attention_bias, reader, sites);
  layer.output =
      load_sites(attention, {{"o_proj", c.hidden, Role::attention_output}}, q, c.attention_bias, reader, sites);
  layer.gate_up = load_sites(mlp, {{"gate_proj", c.feed_forward, Role::gate}, {"up_proj", c.feed_forward, Role::up}},
                             c.hidden, c.mlp_bias, reader, sites);
  layer.down = load_sites(mlp, {{"down_proj", c.hidden, Role::down}}, c.feed_forward, c.mlp_bias, reader, sites);
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

/// `token_embd.weight` for `model.embed_tokens.weight`, and so on; "" for a name GGUF does not have.
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

/// GGUF stores q and k with the two halves of each head interleaved; this puts them back.
at::Tensor from_gguf_layout(const DecoderConfig& config, const std::string& name, at::Tensor tensor) {
  const bool q = name.ends_with("q_proj.weight"), k = name.ends_with("k_proj.weight");
  if (!q && !k) return tensor;
  const auto heads = q ? config.heads : config.kv_heads;
  return tensor.view({heads, config.head_width / 2, 2, tensor.size(1)}).transpose(1, 2).reshape(tensor.sizes());
}

Model build(const DecoderConfig& config, WeightReader& reader, const std::string& where) {
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

/// Old checkpoints carry the rotary frequencies, which follow from the configuration.
void ignore_frequencies(WeightReader& reader, std::int64_t layers) {
  reader.ignore(reader.stored("model.rotary_emb.inv_freq"));
  for (std::int64_t i = 0; i < layers; ++i)
    reader.ignore(reader.stored(fmt::format("model.layers.{}.self_attn.rotary_emb.inv_freq", i)));
}

}  // namespace

Model load(const nlohmann::json& json, WeightReader& reader, const std::string& where) {
  auto config = config_of_json(json, where);
  // A model saved without its head lacks the prefix.
  if (!reader.contains("model.embed_tokens.weight") && reader.contains("embed_tokens.weight"))
    reader.rename([](const std::string& name) { return name.starts_with("model.") ? name.substr(6) : name; });
  constexpr const char *kEmbedding = "model.embed_tokens.weight", *kHead = "lm_head.weight";
  config.tied_head = config.tied_head && (!reader.contains(kHead) || reader.same(kHead, kEmbedding));
  if (config.tied_head) reader.ignore(reader.stored(kHead));
  ignore_frequencies(reader, config.layers);
  return build(config, reader, where);
}

Model load_gguf(const std::shared_ptr<const tensor_io::GgufFile>& file, at::ScalarType dtype,
                const std::string& where) {
  constexpr const char* kDivisors = "rope_freqs.weight";
  auto config = config_of_gguf(*file, where);
  if (file->tensors().contains(kDivisors)) {
    const auto divisors = file->load(kDivisors).to(at::kFloat).contiguous();
    config.rotary_scaling.divisors.assign(divisors.const_data_ptr<float>(),
                                          divisors.const_data_ptr<float>() + divisors.numel());
  }
  WeightReader reader(file, dtype, gguf_name, [&config](const std::string& name, at::Tensor tensor) {
    return from_gguf_layout(config, name, std::move(tensor));
  });
  reader.ignore(kDivisors);
  return build(config, reader, where);
}

}  // namespace quiver::model::llama
