// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/t5.h"

#include <algorithm>
#include <map>

#include "quiver/base/error.h"
#include "quiver/model/families/config_fields.h"
#include "quiver/model/families/layer_parts.h"

namespace quiver::model::t5 {
namespace {

using nlohmann::json;

/// The blocks of layer after layer under their names.
class BlockReader {
 public:
  BlockReader(const EncoderDecoderConfig& config, WeightReader& reader, std::vector<Site>& sites,
              std::vector<Norm>& norms)
      : c_(config), reader_(reader), sites_(sites), norms_(norms) {}

  void start_layer(std::string prefix, std::int64_t layer) {
    prefix_ = std::move(prefix);
    layer_ = layer;
    next_ = 0;
  }

  SelfAttention self_attention() {
    const auto place = start_block("SelfAttention.");
    SelfAttention out;
    out.norm = norm_;
    out.query_key_value =
        linear(place, {{"q", width(), Role::query}, {"k", width(), Role::key}, {"v", width(), Role::value}}, c_.hidden);
    out.output = linear(place, {{"o", c_.hidden, Role::attention_output}}, width());
    return out;
  }

  CrossAttention cross_attention() {
    const auto place = start_block("EncDecAttention.");
    CrossAttention out;
    out.norm = norm_;
    out.query = linear(place, {{"q", width(), Role::query}}, c_.hidden);
    out.key_value = linear(place, {{"k", width(), Role::key}, {"v", width(), Role::value}}, c_.hidden);
    out.output = linear(place, {{"o", c_.hidden, Role::attention_output}}, width());
    return out;
  }

  FeedForward feed_forward() {
    const auto place = start_block("DenseReluDense.");
    FeedForward out;
    out.norm = norm_;
    const auto wide = c_.feed_forward;
    out.in = c_.gated ? linear(place, {{"wi_0", wide, Role::gate}, {"wi_1", wide, Role::up}}, c_.hidden)
                      : linear(place, {{"wi", wide, Role::up}}, c_.hidden);
    out.out = linear(place, {{"wo", c_.hidden, Role::down}}, wide);
    return out;
  }

 private:
  std::int64_t width() const { return c_.heads * c_.head_width; }
  /// Reads the block's norm.
  BlockPlace start_block(const std::string& module) {
    const auto block = fmt::format("{}layer.{}.", prefix_, next_++);
    norm_ = load_norm(block + "layer_norm", c_.hidden, layer_, reader_, norms_);
    return {block + module, layer_, blocks_++};
  }
  Linear linear(const BlockPlace& place, const std::vector<SiteSpec>& specs, std::int64_t in) {
    return load_sites(place, specs, in, false, reader_, sites_);
  }

  std::string prefix_;
  std::int64_t layer_ = 0;
  const EncoderDecoderConfig& c_;
  WeightReader& reader_;
  std::vector<Site>& sites_;
  std::vector<Norm>& norms_;
  RmsNorm norm_;
  int next_ = 0;
  std::int64_t blocks_ = 0;
};

bool is_multilingual(const json& config) {
  const auto name = architecture_of(config);
  return name.starts_with("MT5") || name == "mt5";
}

/// `feed_forward_proj`: relu, gated-gelu (whose gelu is the tanh form), gated-silu, ...
void read_activation(const json& config, EncoderDecoderConfig& out, const std::string& where) {
  using Activation = EncoderDecoderConfig::Activation;
  auto name = field<std::string>(config, "feed_forward_proj", where, "relu");
  out.gated = name.starts_with("gated-");
  if (out.gated) name = name.substr(6);
  if (out.gated && name == "gelu") name = "gelu_new";
  static const std::map<std::string, Activation> known{{"relu", Activation::relu},
                                                       {"gelu", Activation::gelu},
                                                       {"gelu_new", Activation::gelu_tanh},
                                                       {"silu", Activation::silu},
                                                       {"swish", Activation::silu}};
  const auto found = known.find(name);
  QUIVER_CHECK(found != known.end(), unsupported, where,
               "feed_forward_proj '{}', expected relu, gelu, gelu_new or silu, or one of them after 'gated-'", name);
  out.activation = found->second;
}

/// One embedding serves both stacks; a file may hold it under any of its names, or under several.
constexpr const char* kEmbeddings[] = {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};

std::string embedding_name(const WeightReader& reader, const std::string& where) {
  const auto* const first = std::find_if(std::begin(kEmbeddings), std::end(kEmbeddings),
                                         [&](const char* name) { return reader.contains(name); });
  if (first == std::end(kEmbeddings)) return kEmbeddings[0];
  for (const auto* name : kEmbeddings) {
    QUIVER_CHECK(name == *first || !reader.contains(name) || reader.same(name, *first), unsupported, where,
                 "'{}' differs from '{}', expected one embedding for both stacks", name, *first);
  }
  return *first;
}

}  // namespace

EncoderDecoderConfig config_of_json(const json& config, const std::string& where) {
  EncoderDecoderConfig out;
  out.architecture = is_multilingual(config) ? "MT5ForConditionalGeneration" : "T5ForConditionalGeneration";
  out.vocabulary = field<std::int64_t>(config, "vocab_size", where);
  out.hidden = field<std::int64_t>(config, "d_model", where);
  out.encoder_layers = field<std::int64_t>(config, "num_layers", where);
  const auto decoder_layers = field<std::int64_t>(config, "num_decoder_layers", where, out.encoder_layers);
  QUIVER_CHECK(decoder_layers >= 1 && decoder_layers <= 4096, format, where,
               "num_decoder_layers = {}, expected 1 to 4096", decoder_layers);
  out.layers = out.encoder_layers + decoder_layers;
  out.heads = field<std::int64_t>(config, "num_heads", where);
  out.head_width = field<std::int64_t>(config, "d_kv", where);
  out.feed_forward = field<std::int64_t>(config, "d_ff", where);
  out.norm_epsilon = field<double>(config, "layer_norm_epsilon", where, 1e-6);
  out.buckets = field<std::int64_t>(config, "relative_attention_num_buckets", where, 32);
  out.max_distance = field<std::int64_t>(config, "relative_attention_max_distance", where, 128);
  out.max_positions = 1 << 20;  // relative positions know no end; memory does
  // Old files say by the tie whether states are scaled; new ones say it, and tie where the file has no head. mT5 never
  // scales.
  const bool tied = field<bool>(config, "tie_word_embeddings", where, true);
  out.scaled_output = field<bool>(config, "scale_decoder_outputs", where, tied && !is_multilingual(config));
  const auto padding = field<std::int32_t>(config, "pad_token_id", where, 0);
  out.answer_start = field<std::int32_t>(config, "decoder_start_token_id", where, padding);
  read_activation(config, out, where);
  check(out, where);
  return out;
}

Model load(const json& config, WeightReader& reader, const std::string& where) {
  auto c = config_of_json(config, where);
  EncoderDecoder::Weights w;
  std::vector<Site> sites;
  std::vector<Norm> norms;
  w.embedding = reader.take(embedding_name(reader, where), {c.vocabulary, c.hidden}).contiguous();
  const auto bias = [&](const std::string& stack) {
    return reader.take(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", {c.buckets, c.heads});
  };
  BlockReader blocks(c, reader, sites, norms);
  for (std::int64_t i = 0; i < c.encoder_layers; ++i) {
    blocks.start_layer(fmt::format("encoder.block.{}.", i), i);
    auto attention = blocks.self_attention();
    w.encoder.push_back({std::move(attention), blocks.feed_forward()});
  }
  for (std::int64_t i = 0; i < c.layers - c.encoder_layers; ++i) {
    blocks.start_layer(fmt::format("decoder.block.{}.", i), c.encoder_layers + i);
    auto attention = blocks.self_attention();
    auto cross = blocks.cross_attention();
    w.decoder.push_back({std::move(attention), std::move(cross), blocks.feed_forward()});
  }
  w.encoder_bias = bias("encoder");
  w.decoder_bias = bias("decoder");
  w.encoder_norm = load_norm("encoder.final_layer_norm", c.hidden, c.encoder_layers - 1, reader, norms);
  w.decoder_norm = load_norm("decoder.final_layer_norm", c.hidden, c.layers - 1, reader, norms);
  c.tied_head = !reader.contains("lm_head.weight");
  w.head = c.tied_head ? w.embedding : reader.take("lm_head.weight", {c.vocabulary, c.hidden}).contiguous();
  for (const auto* name : kEmbeddings) reader.ignore(name);
  // Early checkpoints carry it and nothing reads it.
  reader.ignore("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight");
  reader.check_all_taken(where);
  return {std::make_shared<EncoderDecoder>(c, std::move(w)), std::move(sites), std::move(norms), reader.fingerprint()};
}

}  // namespace quiver::model::t5
