// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/t5.h"

#include <map>

#include "quiver/base/error.h"
#include "quiver/model/families/config_fields.h"
#include "quiver/model/families/layer_parts.h"

namespace quiver::model::t5 {
namespace {

using nlohmann::json;

/// A block's layers under their names, one after another.
class BlockReader {
 public:
  BlockReader(std::string prefix, std::int64_t layer, const EncoderDecoderConfig& config, WeightReader& reader,
              std::vector<Site>& sites, std::vector<Norm>& norms)
      : prefix_(std::move(prefix)), layer_(layer), c_(config), reader_(reader), sites_(sites), norms_(norms) {}

  SelfAttention self_attention() {
    const auto own = next();
    const auto width = c_.heads * c_.head_width;
    SelfAttention out;
    out.norm = norm(own);
    out.query_key_value =
        linear(own, {{"SelfAttention.q", width}, {"SelfAttention.k", width}, {"SelfAttention.v", width}}, c_.hidden);
    out.output = linear(own, {{"SelfAttention.o", c_.hidden}}, width);
    return out;
  }

  CrossAttention cross_attention() {
    const auto own = next();
    const auto width = c_.heads * c_.head_width;
    CrossAttention out;
    out.norm = norm(own);
    out.query = linear(own, {{"EncDecAttention.q", width}}, c_.hidden);
    out.key_value = linear(own, {{"EncDecAttention.k", width}, {"EncDecAttention.v", width}}, c_.hidden);
    out.output = linear(own, {{"EncDecAttention.o", c_.hidden}}, width);
    return out;
  }

  FeedForward feed_forward() {
    const auto own = next();
    FeedForward out;
    out.norm = norm(own);
    const auto wide = c_.feed_forward;
    out.in = c_.gated ? linear(own, {{"DenseReluDense.wi_0", wide}, {"DenseReluDense.wi_1", wide}}, c_.hidden)
                      : linear(own, {{"DenseReluDense.wi", wide}}, c_.hidden);
    out.out = linear(own, {{"DenseReluDense.wo", c_.hidden}}, wide);
    return out;
  }

 private:
  std::string next() { return fmt::format("{}layer.{}.", prefix_, next_++); }
  RmsNorm norm(const std::string& own) { return load_norm(own + "layer_norm", c_.hidden, layer_, reader_, norms_); }
  Linear linear(const std::string& own, const std::vector<SiteSpec>& specs, std::int64_t in) {
    return load_sites(own, specs, in, false, layer_, reader_, sites_);
  }

  std::string prefix_;
  std::int64_t layer_;
  const EncoderDecoderConfig& c_;
  WeightReader& reader_;
  std::vector<Site>& sites_;
  std::vector<Norm>& norms_;
  int next_ = 0;
};

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

}  // namespace

bool is_architecture(const std::string& name) {
  return name == "T5ForConditionalGeneration" || name == "T5WithLMHeadModel" || name == "MT5ForConditionalGeneration";
}

EncoderDecoderConfig config_of_json(const json& config, const std::string& where) {
  EncoderDecoderConfig out;
  out.architecture = config.at("architectures").at(0).get<std::string>();
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
  const bool multilingual = out.architecture.starts_with("MT5");
  const bool tied = field<bool>(config, "tie_word_embeddings", where, true);
  out.scaled_output = field<bool>(config, "scale_decoder_outputs", where, tied && !multilingual);
  const auto padding = field<std::int32_t>(config, "pad_token_id", where, 0);
  out.answer_start = field<std::int32_t>(config, "decoder_start_token_id", where, padding);
  read_activation(config, out, where);
  check(out, where);
  return out;
}

LanguageModel load(EncoderDecoderConfig c, WeightReader& reader, const std::string& where) {
  EncoderDecoder::Weights w;
  std::vector<Site> sites;
  std::vector<Norm> norms;
  w.embedding = reader.take("shared.weight", {c.vocabulary, c.hidden}).contiguous();
  const auto bias = [&](const std::string& stack) {
    return reader.take(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", {c.buckets, c.heads});
  };
  for (std::int64_t i = 0; i < c.encoder_layers; ++i) {
    BlockReader block(fmt::format("encoder.block.{}.", i), i, c, reader, sites, norms);
    auto attention = block.self_attention();
    w.encoder.push_back({std::move(attention), block.feed_forward()});
  }
  for (std::int64_t i = 0; i < c.layers - c.encoder_layers; ++i) {
    BlockReader block(fmt::format("decoder.block.{}.", i), c.encoder_layers + i, c, reader, sites, norms);
    auto attention = block.self_attention();
    auto cross = block.cross_attention();
    w.decoder.push_back({std::move(attention), std::move(cross), block.feed_forward()});
  }
  w.encoder_bias = bias("encoder");
  w.decoder_bias = bias("decoder");
  w.encoder_norm = load_norm("encoder.final_layer_norm", c.hidden, c.encoder_layers - 1, reader, norms);
  w.decoder_norm = load_norm("decoder.final_layer_norm", c.hidden, c.layers - 1, reader, norms);
  c.tied_head = !reader.contains("lm_head.weight");
  w.head = c.tied_head ? w.embedding : reader.take("lm_head.weight", {c.vocabulary, c.hidden}).contiguous();
  // Copies of the embedding, and a bias of cross-attention that early checkpoints carry and nothing reads.
  for (const auto* name : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                           "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"})
    reader.ignore(name);
  reader.check_all_taken(where);
  return {std::make_shared<EncoderDecoder>(c, std::move(w)), std::move(sites), std::move(norms), reader.fingerprint()};
}

}  // namespace quiver::model::t5
