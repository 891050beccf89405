// SPDX-License-Identifier: Apache-2.0
// Packed rows as one padded block, for attention whose mask a packed kernel does not know.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace quiver::ops {

/// Tokens [begin, begin + count) of a packed tensor.
struct RowSpan {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// N rows of at most L tokens. Where all are of one length and stand one after another, padding is a view.
class PaddedRows {
 public:
  explicit PaddedRows(std::vector<RowSpan> rows);

  std::int64_t rows() const { return static_cast<std::int64_t>(spans_.size()); }
  std::int64_t length() const { return length_; }
  const std::vector<RowSpan>& spans() const { return spans_; }
  /// True where no position is padding.
  bool full() const { return full_; }
  /// x: [T, H, W] -> [N, H, L, W]; differentiable. Padding holds entries of some token: mask it.
  at::Tensor pad(const at::Tensor& x) const;
  /// y: [N, H, L, W] -> [T, H * W], for spans that cover a packed batch of T tokens in its order; differentiable.
  at::Tensor unpad(const at::Tensor& y) const;
  /// [N, L]: 0 where a token stands, -infinity at padding.
  at::Tensor mask(const at::TensorOptions& options) const;

 private:
  std::vector<RowSpan> spans_;
  std::int64_t length_ = 0;
  bool full_ = true, view_ = true;
  at::Tensor token_of_position_, position_of_token_;  ///< int64; undefined for a view
};

/// Keys or values of rows that keep them apart, [H, S_n, W] each, as [N, H, S, W]; padding is zero. No gradient.
at::Tensor pad_history(const std::vector<at::Tensor>& rows);

/// softmax(scale q k^T + mask) v. q: [N, H, L, W], k, v: [N, H, S, W], mask: broadcastable to [N, H, L, S].
at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                            double scale);

}  // namespace quiver::ops
