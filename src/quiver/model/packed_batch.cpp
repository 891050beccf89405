// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/packed_batch.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_copy.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

constexpr std::int64_t kFirstCapacity_tokens = 64;

/// `buffer` [K, capacity, D] with room for `needed` tokens, its first `used` kept.
void grow(at::Tensor& buffer, const at::Tensor& like, std::int64_t used, std::int64_t needed) {
  if (buffer.defined() && buffer.size(1) >= needed) return;
  const auto capacity = std::max({kFirstCapacity_tokens, needed, buffer.defined() ? 2 * buffer.size(1) : 0});
  auto larger = at::empty({like.size(0), capacity, like.size(2)}, like.options());
  if (used) larger.narrow(1, 0, used).copy_(buffer.narrow(1, 0, used));
  buffer = larger;
}

}  // namespace

RowCache::KeysValues RowCache::append(std::size_t layer, const at::Tensor& k, const at::Tensor& v) {
  if (layers_.size() <= layer) layers_.resize(layer + 1);
  auto& stored = layers_[layer];
  const auto total = length_ + k.size(1);
  grow(stored.keys, k, length_, total);
  grow(stored.values, v, length_, total);
  stored.keys.narrow(1, length_, k.size(1)).copy_(k);
  stored.values.narrow(1, length_, v.size(1)).copy_(v);
  return {stored.keys.narrow(1, 0, total), stored.values.narrow(1, 0, total)};
}

RowCache::KeysValues RowCache::joined(std::size_t layer, const at::Tensor& k, const at::Tensor& v) const {
  if (length_ == 0) return {k, v};
  const auto& stored = layers_.at(layer);
  return {at::cat({stored.keys.narrow(1, 0, length_), k}, 1), at::cat({stored.values.narrow(1, 0, length_), v}, 1)};
}

RowCache RowCache::copy() const {
  RowCache out;
  out.length_ = length_;
  out.encoded = encoded;
  for (const auto& layer : layers_)
    out.layers_.push_back({layer.keys.narrow(1, 0, length_).clone(), layer.values.narrow(1, 0, length_).clone()});
  return out;
}

PackedBatch pack(const std::vector<RowInput>& rows, Part part) {
  PackedBatch batch;
  batch.part = part;
  std::int64_t total = 0;
  std::vector<at::Tensor> vectors;
  for (const auto& row : rows) {
    const auto soft = row.soft.defined() ? row.soft.size(0) : 0;
    const auto count = static_cast<std::int64_t>(row.ids.size()) + soft;
    QUIVER_CHECK(!row.ids.empty(), mismatch, "batch", "row {} is empty, expected at least one token",
                 batch.rows.size());
    if (soft > 0) vectors.push_back(row.soft);
    batch.rows.push_back({total, count, row.cache, row.extend_cache, soft});
    total += count;
  }
  if (!vectors.empty()) batch.vectors = at::cat(vectors, 0);
  batch.ids = at::zeros({total}, at::kLong);
  batch.positions = at::empty({total}, at::kLong);
  auto* id = batch.ids.data_ptr<std::int64_t>();
  auto* position = batch.positions.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::int64_t next = rows[i].cache ? rows[i].cache->length() : 0;
    for (std::int64_t t = 0; t < batch.rows[i].count; ++t) *position++ = next++;
    id += batch.rows[i].soft;
    for (const auto token : rows[i].ids) *id++ = token;
  }
  return batch;
}

at::Tensor embedded(const at::Tensor& embedding, const PackedBatch& batch) {
  const auto x = at::embedding(embedding, batch.ids);
  if (!batch.vectors.defined()) return x;
  std::vector<std::int64_t> places;
  for (const auto& row : batch.rows) {
    for (std::int64_t t = 0; t < row.soft; ++t) places.push_back(row.begin + t);
  }
  return x.index_copy(0, at::tensor(places, at::kLong), batch.vectors.to(x.scalar_type()));
}

}  // namespace quiver::model
