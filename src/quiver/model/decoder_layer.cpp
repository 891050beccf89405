// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/decoder_layer.h"

#include <ATen/TensorOperators.h>

#include "quiver/ops/attention.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::model {
namespace {

/// The rows of the batch with the history that their caches hold.
std::vector<ops::AttentionRow> attention_rows(const at::Tensor& k, const at::Tensor& v, const LayerContext& c) {
  std::vector<ops::AttentionRow> rows;
  for (const auto& row : c.batch.rows) {
    ops::AttentionRow out{row.begin, row.count, {}, {}};
    if (row.cache) {
      const auto own_k = k.narrow(0, row.begin, row.count).transpose(0, 1);
      const auto own_v = v.narrow(0, row.begin, row.count).transpose(0, 1);
      const auto history =
          row.extend_cache ? row.cache->append(c.layer, own_k, own_v) : row.cache->joined(c.layer, own_k, own_v);
      out.keys = history.keys;
      out.values = history.values;
    }
    rows.push_back(std::move(out));
  }
  return rows;
}

at::Tensor attention(const DecoderLayer& layer, const at::Tensor& x, const LayerContext& c) {
  const auto tokens = x.size(0), width = c.config.head_width;
  const auto heads = c.config.heads, kv_heads = c.config.kv_heads;
  const auto qkv = layer.query_key_value.forward(x, c.experts).view({tokens, heads + 2 * kv_heads, width});
  auto [q, k, v] = ops::part_rotated(qkv, heads, c.angles.cosine, c.angles.sine);
  if (c.experts) c.experts->keys_values(static_cast<std::int64_t>(c.layer), k, v);
  return layer.output.forward(ops::packed_attention(q, k, v, attention_rows(k, v, c)), c.experts);
}

at::Tensor mlp(const DecoderLayer& layer, const at::Tensor& x, const LayerContext& c) {
  return layer.down.forward(ops::swiglu(layer.gate_up.forward(x, c.experts)), c.experts);
}

}  // namespace

at::Tensor forward(const DecoderLayer& layer, const at::Tensor& x, const LayerContext& context) {
  const double epsilon = context.config.norm_epsilon;
  const auto attended = x + attention(layer, layer.attention_norm.forward(x, epsilon, context.experts), context);
  return attended + mlp(layer, layer.mlp_norm.forward(attended, epsilon, context.experts), context);
}

}  // namespace quiver::model
