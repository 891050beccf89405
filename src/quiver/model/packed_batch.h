// SPDX-License-Identifier: Apache-2.0
// Rows of unequal lengths side by side, without padding, and the keys and values that a row keeps between calls.
//
// An encoder-decoder reads prompts and writes answers with different stacks, so that its batches hold one or the other;
// a prompt's cache then carries what the answer's layers attend to. One-stack models take both parts alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace quiver::model {

/// Keys and values of a batch of prompts that an encoder has read, for every decoder layer: [T, H, D] each. They carry
/// gradients where the pass did.
struct EncodedPrompts {
  std::vector<at::Tensor> keys, values;
};

/// Keys and values of one row's earlier tokens, for every layer. Grows by doubling. Not thread-safe.
class RowCache {
 public:
  std::int64_t length() const { return length_; }
  /// Forgets all tokens from `length` on.
  void truncate(std::int64_t length) { length_ = std::min(length, length_); }

  struct KeysValues {
    at::Tensor keys, values;  ///< [K, S, D]
  };
  /// Stores k, v [K, n, D] of `layer` behind the row's history and returns the whole, S = length + n. The length itself
  /// moves on with `advance`, once per forward pass.
  KeysValues append(std::size_t layer, const at::Tensor& k, const at::Tensor& v);
  /// The same without storing: for branches that share this history.
  KeysValues joined(std::size_t layer, const at::Tensor& k, const at::Tensor& v) const;
  void advance(std::int64_t tokens) { length_ += tokens; }
  /// The same history in memory of its own, for a row that branches off. What an encoder read stays shared.
  RowCache copy() const;

  /// Encoder-decoders: the row's prompt is tokens [begin, begin + count) of `prompts`.
  struct Encoded {
    std::shared_ptr<const EncodedPrompts> prompts;
    std::int64_t begin = 0, count = 0;
  };
  Encoded encoded;

 private:
  std::vector<KeysValues> layers_;
  std::int64_t length_ = 0;
};

struct BatchRow {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  RowCache* cache = nullptr;  ///< earlier tokens of the row; null: the row starts at position 0
  bool extend_cache = true;   ///< false: read the cache as a shared prefix and leave it as it is
  std::int64_t soft = 0;      ///< the first of the row's tokens, which stand for vectors
};

/// Which side of the border between what is given and what is to be written.
enum class Part { prompt, answer };

struct PackedBatch {
  at::Tensor ids;        ///< int64 [T]
  at::Tensor positions;  ///< int64 [T]: index within the row, cached tokens counted
  at::Tensor vectors;    ///< [soft tokens of all rows, D], in place of their embeddings; undefined where there are none
  std::vector<BatchRow> rows;
  Part part = Part::prompt;
  std::int64_t tokens() const { return ids.size(0); }
};

struct RowInput {
  std::span<const std::int32_t> ids;
  RowCache* cache = nullptr;
  bool extend_cache = true;
  at::Tensor soft = {};  ///< [m, D]: vectors read before the ids, as prompt tuning has them; undefined: none
};

/// Throws Error{mismatch} on an empty row.
PackedBatch pack(const std::vector<RowInput>& rows, Part part = Part::prompt);

/// What the first layer reads: rows of `embedding` [V, D] by id, and the batch's vectors in their places: [T, D].
at::Tensor embedded(const at::Tensor& embedding, const PackedBatch& batch);

}  // namespace quiver::model
