// SPDX-License-Identifier: Apache-2.0
// Rows of unequal lengths side by side, without padding, and the keys and values that a row keeps between calls.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace quiver::model {

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

 private:
  std::vector<KeysValues> layers_;
  std::int64_t length_ = 0;
};

struct BatchRow {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  RowCache* cache = nullptr;  ///< earlier tokens of the row; null: the row starts at position 0
  bool extend_cache = true;   ///< false: read the cache as a shared prefix and leave it as it is
};

struct PackedBatch {
  at::Tensor ids;        ///< int64 [T]
  at::Tensor positions;  ///< int64 [T]: index within the row, cached tokens counted
  std::vector<BatchRow> rows;
  std::int64_t tokens() const { return ids.size(0); }
};

struct RowInput {
  std::span<const std::int32_t> ids;
  RowCache* cache = nullptr;
  bool extend_cache = true;
};

/// Throws Error{mismatch} on an empty row.
PackedBatch pack(const std::vector<RowInput>& rows);

}  // namespace quiver::model
