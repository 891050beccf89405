// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed rows: each row attends to itself and to its own past, never to a neighbour.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace quiver::ops {

/// One row of the batch. A row without `keys` sees its own tokens only. With them (the row's whole history, its own
/// tokens last), query i sees keys [0, P + i], where P = S - count.
struct AttentionRow {
  std::int64_t begin = 0;  ///< first token in the packed batch
  std::int64_t count = 0;
  at::Tensor keys;    ///< [K, S, D], S >= count, or undefined
  at::Tensor values;  ///< [K, S, D]
};

/// softmax(q k^T / sqrt(D)) v, causal within each row; grouped-query heads (H a multiple of K).
/// q: [T, H, D], k, v: [T, K, D] -> [T, H * D]. Rows must not overlap; tokens outside every row give zeros.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<AttentionRow>& rows);

}  // namespace quiver::ops
