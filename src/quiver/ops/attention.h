// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed rows: each row attends to itself and to its own past, never to a neighbour.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace quiver::ops {

/// One row's queries, and the keys and values before them.
struct AttentionRow {
  std::int64_t begin = 0;  ///< first token in the packed batch
  std::int64_t count = 0;
  at::Tensor past_keys;    ///< [K, P, D] or undefined: cached keys of the row's earlier tokens
  at::Tensor past_values;  ///< [K, P, D]
};

/// softmax(q k^T / sqrt(D)) v, causal within each row, over past and own keys; grouped-query heads (H a multiple of K).
/// q: [T, H, D], k, v: [T, K, D] -> [T, H * D]. Rows must not overlap; tokens outside every row give zeros.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<AttentionRow>& rows);

}  // namespace quiver::ops
