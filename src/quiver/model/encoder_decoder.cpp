// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/encoder_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/ops/padded_rows.h"
#include "quiver/ops/recompute.h"

namespace quiver::model {
namespace {

constexpr double kNoScale = 1.0;

/// [T, n, H, W] of a fused projection [T, n H W].
at::Tensor parts(const at::Tensor& fused, std::int64_t count, const ModelConfig& c) {
  return fused.view({fused.size(0), count, c.heads, c.head_width});
}

at::Tensor activated(const at::Tensor& x, EncoderDecoderConfig::Activation activation) {
  switch (activation) {
    case EncoderDecoderConfig::Activation::relu:
      return at::relu(x);
    case EncoderDecoderConfig::Activation::gelu:
      return at::gelu(x);
    case EncoderDecoderConfig::Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case EncoderDecoderConfig::Activation::silu:
      return at::silu(x);
  }
  fail(ErrorCode::usage, "model", "unknown activation");
}

at::Tensor mlp(const FeedForward& layer, const at::Tensor& x, const EncoderDecoderConfig& c, ExpertSource* experts) {
  const auto wide = layer.in.forward(layer.norm.forward(x, c.norm_epsilon, experts), experts);
  if (!c.gated) return layer.out.forward(activated(wide, c.activation), experts);
  const auto halves = wide.chunk(2, 1);
  return layer.out.forward(activated(halves[0], c.activation) * halves[1], experts);
}

std::vector<ops::RowSpan> spans_of(const PackedBatch& batch) {
  std::vector<ops::RowSpan> spans;
  for (const auto& row : batch.rows) spans.push_back({row.begin, row.count});
  return spans;
}

/// What all decoder layers of a pass share.
struct DecoderPass {
  const EncoderDecoderConfig& config;
  const PackedBatch& batch;
  ExpertSource* experts;
  ops::PaddedRows rows;                                        ///< the batch's own tokens
  bool history = false;                                        ///< some row has earlier tokens, or keeps these
  at::Tensor self_mask;                                        ///< relative bias, and -infinity on what comes later
  ops::PaddedRows prompts;                                     ///< of the rows, in the prompts' tokens
  std::vector<std::shared_ptr<const EncodedPrompts>> sources;  ///< where those tokens stand, one after another
  at::Tensor cross_mask;
};

/// The batches of prompts that the rows refer to, each once, and where each row's prompt stands in them together.
std::vector<ops::RowSpan> prompt_spans(const PackedBatch& batch,
                                       std::vector<std::shared_ptr<const EncodedPrompts>>& sources) {
  std::vector<std::int64_t> begins;
  std::int64_t end = 0;
  std::vector<ops::RowSpan> spans;
  for (const auto& row : batch.rows) {
    QUIVER_CHECK(row.cache && row.cache->encoded.prompts, mismatch, "model",
                 "an answer without its prompt: an encoder-decoder reads the prompt first");
    const auto& encoded = row.cache->encoded;
    auto found = std::find(sources.begin(), sources.end(), encoded.prompts);
    if (found == sources.end()) {
      begins.push_back(end);
      end += encoded.prompts->keys.front().size(0);
      found = sources.insert(sources.end(), encoded.prompts);
    }
    spans.push_back({begins[static_cast<std::size_t>(found - sources.begin())] + encoded.begin, encoded.count});
  }
  return spans;
}

/// An answer's history before its first token: vectors [m, layers, 2, H, W], keys and values.
void start_answer(RowCache& cache, const at::Tensor& vectors) {
  for (std::int64_t layer = 0; layer < vectors.size(1); ++layer) {
    const auto own = vectors.select(1, layer).permute({1, 2, 0, 3});
    cache.append(static_cast<std::size_t>(layer), own[0], own[1]);
  }
  cache.advance(vectors.size(0));
}

/// Bias of distance, and -infinity at keys after the query, where keys past a row's own end stand too.
at::Tensor causal_mask(const RelativePositions& positions, const std::vector<std::int64_t>& pasts, std::int64_t length,
                       std::int64_t keys, at::ScalarType dtype) {
  const auto infinity = std::numeric_limits<float>::infinity();
  std::vector<at::Tensor> later;
  const bool equal = std::all_of(pasts.begin(), pasts.end(), [&](auto past) { return past == pasts[0]; });
  for (std::size_t n = 0; n < (equal ? 1 : pasts.size()); ++n)
    later.push_back(at::full({1, 1, length, keys}, -infinity, positions.bias.options()).triu_(pasts[n] + 1));
  return (relative_bias(positions, pasts, length, keys) + at::cat(later, 0)).to(dtype);
}

/// Keys and values before the row's end, from caches where there is a history.
struct PaddedKeys {
  at::Tensor keys, values;  ///< [N, H, S, W]
};

PaddedKeys self_keys(const at::Tensor& k, const at::Tensor& v, const DecoderPass& pass, std::size_t layer) {
  if (!pass.history) return {pass.rows.pad(k), pass.rows.pad(v)};
  std::vector<at::Tensor> keys, values;
  for (const auto& row : pass.batch.rows) {
    const auto own_k = k.narrow(0, row.begin, row.count).transpose(0, 1);
    const auto own_v = v.narrow(0, row.begin, row.count).transpose(0, 1);
    const auto all = row.extend_cache ? row.cache->append(layer, own_k, own_v) : row.cache->joined(layer, own_k, own_v);
    keys.push_back(all.keys);
    values.push_back(all.values);
  }
  return {ops::pad_history(keys), ops::pad_history(values)};
}

at::Tensor self_attention(const SelfAttention& layer, const at::Tensor& x, const DecoderPass& pass, std::size_t index) {
  const auto normed = layer.norm.forward(x, pass.config.norm_epsilon, pass.experts);
  const auto qkv = parts(layer.query_key_value.forward(normed, pass.experts), 3, pass.config);
  const auto [keys, values] = self_keys(qkv.select(1, 1), qkv.select(1, 2), pass, index);
  const auto y = ops::masked_attention(pass.rows.pad(qkv.select(1, 0)), keys, values, pass.self_mask, kNoScale);
  return layer.output.forward(pass.rows.unpad(y), pass.experts);
}

at::Tensor cross_attention(const CrossAttention& layer, const at::Tensor& x, const DecoderPass& pass,
                           std::size_t index) {
  const auto normed = layer.norm.forward(x, pass.config.norm_epsilon, pass.experts);
  const auto q = parts(layer.query.forward(normed, pass.experts), 1, pass.config).select(1, 0);
  std::vector<at::Tensor> keys, values;
  for (const auto& source : pass.sources) {
    keys.push_back(source->keys[index]);
    values.push_back(source->values[index]);
  }
  const auto k = keys.size() == 1 ? keys[0] : at::cat(keys, 0), v = values.size() == 1 ? values[0] : at::cat(values, 0);
  const auto y =
      ops::masked_attention(pass.rows.pad(q), pass.prompts.pad(k), pass.prompts.pad(v), pass.cross_mask, kNoScale);
  return layer.output.forward(pass.rows.unpad(y), pass.experts);
}

}  // namespace

EncoderDecoder::EncoderDecoder(EncoderDecoderConfig config, Weights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {}

std::int64_t EncoderDecoder::parameters() const {
  const auto of_mlp = [](const FeedForward& m) {
    return m.norm.weight.numel() + m.in.parameters() + m.out.parameters();
  };
  const auto of_self = [](const SelfAttention& a) {
    return a.norm.weight.numel() + a.query_key_value.parameters() + a.output.parameters();
  };
  const auto of_cross = [](const CrossAttention& a) {
    return a.norm.weight.numel() + a.query.parameters() + a.key_value.parameters() + a.output.parameters();
  };
  auto count = weights_.embedding.numel() + (config_.tied_head ? 0 : weights_.head.numel());
  for (const auto* t :
       {&weights_.encoder_norm.weight, &weights_.decoder_norm.weight, &weights_.encoder_bias, &weights_.decoder_bias})
    count += t->numel();
  for (const auto& layer : weights_.encoder) count += of_self(layer.attention) + of_mlp(layer.mlp);
  for (const auto& layer : weights_.decoder)
    count += of_self(layer.attention) + of_cross(layer.cross) + of_mlp(layer.mlp);
  return count;
}

at::Tensor EncoderDecoder::forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  if (batch.part == Part::answer) return decode(batch, experts);
  const auto states = encode(batch, experts, activations);
  remember(states, batch, experts);
  return states;
}

at::Tensor EncoderDecoder::encode(const PackedBatch& batch, ExpertSource* experts, Activations activations) const {
  const ops::PaddedRows rows(spans_of(batch));
  auto x = embedded(weights_.embedding, batch);
  auto mask = relative_bias({weights_.encoder_bias, config_.max_distance, true}, {0}, rows.length(), rows.length());
  if (!rows.full()) mask = mask + rows.mask(mask.options()).view({rows.rows(), 1, 1, rows.length()});
  mask = mask.to(x.scalar_type());
  for (const auto& layer : weights_.encoder) {
    const auto run = [&layer, &c = config_, rows, mask, experts](const at::Tensor& in) {
      const auto normed = layer.attention.norm.forward(in, c.norm_epsilon, experts);
      const auto qkv = parts(layer.attention.query_key_value.forward(normed, experts), 3, c);
      const auto y = ops::masked_attention(rows.pad(qkv.select(1, 0)), rows.pad(qkv.select(1, 1)),
                                           rows.pad(qkv.select(1, 2)), mask, kNoScale);
      const auto attended = in + layer.attention.output.forward(rows.unpad(y), experts);
      return attended + mlp(layer.mlp, attended, c, experts);
    };
    const bool again = activations == Activations::recompute && x.requires_grad() && c10::GradMode::is_enabled();
    x = again ? ops::recomputed(run, x) : run(x);
  }
  return weights_.encoder_norm.forward(x, config_.norm_epsilon, experts);
}

void EncoderDecoder::remember(const at::Tensor& states, const PackedBatch& batch, ExpertSource* experts) const {
  const bool wanted = std::any_of(batch.rows.begin(), batch.rows.end(), [](const auto& row) { return row.cache; });
  if (!wanted) return;
  auto encoded = std::make_shared<EncodedPrompts>();
  for (const auto& layer : weights_.decoder) {
    const auto kv = parts(layer.cross.key_value.forward(states, experts), 2, config_);
    encoded->keys.push_back(kv.select(1, 0));
    encoded->values.push_back(kv.select(1, 1));
  }
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    const auto& row = batch.rows[i];
    if (!row.cache) continue;
    row.cache->encoded = {encoded, row.begin, row.count};
    const auto before = experts ? experts->before_answer(i) : at::Tensor();
    if (before.defined()) start_answer(*row.cache, before.to(states.scalar_type()));
  }
}

at::Tensor EncoderDecoder::decode(const PackedBatch& batch, ExpertSource* experts) const {
  auto x = embedded(weights_.embedding, batch);
  std::vector<std::shared_ptr<const EncodedPrompts>> sources;
  const auto spans = prompt_spans(batch, sources);
  DecoderPass pass{config_, batch, experts, ops::PaddedRows(spans_of(batch)), false, {}, ops::PaddedRows(spans),
                   sources, {}};
  std::vector<std::int64_t> pasts;
  std::int64_t keys = 0;
  for (const auto& row : batch.rows) {
    pasts.push_back(row.cache->length());
    keys = std::max(keys, pasts.back() + row.count);
    pass.history |= row.extend_cache || pasts.back() > 0;
  }
  const RelativePositions positions{weights_.decoder_bias, config_.max_distance, false};
  pass.self_mask = causal_mask(positions, pasts, pass.rows.length(), keys, x.scalar_type());
  pass.cross_mask = pass.prompts.mask(x.options()).view({pass.prompts.rows(), 1, 1, pass.prompts.length()});
  for (std::size_t i = 0; i < weights_.decoder.size(); ++i) {
    const auto& layer = weights_.decoder[i];
    x = x + self_attention(layer.attention, x, pass, i);
    x = x + cross_attention(layer.cross, x, pass, i);
    x = x + mlp(layer.mlp, x, config_, experts);
  }
  for (const auto& row : batch.rows) {
    if (row.extend_cache) row.cache->advance(row.count);
  }
  x = weights_.decoder_norm.forward(x, config_.norm_epsilon, experts);
  return config_.scaled_output ? x * (1.0 / std::sqrt(static_cast<double>(config_.hidden))) : x;
}

}  // namespace quiver::model
