// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/padded_rows.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "quiver/base/error.h"

namespace quiver::ops {

PaddedRows::PaddedRows(std::vector<RowSpan> rows) : spans_(std::move(rows)) {
  QUIVER_CHECK(!spans_.empty(), mismatch, "padded rows", "no rows, expected at least one");
  std::int64_t tokens = 0;
  for (const auto& row : spans_) {
    length_ = std::max(length_, row.count);
    tokens += row.count;
  }
  for (std::size_t n = 0; n < spans_.size(); ++n) {
    full_ &= spans_[n].count == length_;
    view_ &= spans_[n].begin == spans_[0].begin + static_cast<std::int64_t>(n) * length_;
  }
  view_ &= full_;
  if (view_) return;
  token_of_position_ = at::empty({this->rows() * length_}, at::kLong);
  position_of_token_ = at::empty({tokens}, at::kLong);
  auto* token = token_of_position_.data_ptr<std::int64_t>();
  auto* position = position_of_token_.data_ptr<std::int64_t>();
  for (std::size_t n = 0; n < spans_.size(); ++n) {
    for (std::int64_t i = 0; i < length_; ++i) {
      const bool own = i < spans_[n].count;
      *token++ = spans_[n].begin + (own ? i : 0);
      if (own) *position++ = static_cast<std::int64_t>(n) * length_ + i;
    }
  }
}

at::Tensor PaddedRows::pad(const at::Tensor& x) const {
  const auto block =
      view_ ? x.narrow(0, spans_[0].begin, rows() * length_) : at::index_select(x, 0, token_of_position_);
  return block.view({rows(), length_, x.size(1), x.size(2)}).transpose(1, 2);
}

at::Tensor PaddedRows::unpad(const at::Tensor& y) const {
  const auto flat = y.transpose(1, 2).reshape({rows() * length_, y.size(1) * y.size(3)});
  return view_ ? flat : at::index_select(flat, 0, position_of_token_);
}

at::Tensor PaddedRows::mask(const at::TensorOptions& options) const {
  auto mask = at::zeros({rows(), length_}, options);
  for (std::size_t n = 0; n < spans_.size(); ++n) {
    const auto own = spans_[n].count;
    mask[static_cast<std::int64_t>(n)].narrow(0, own, length_ - own).fill_(-std::numeric_limits<float>::infinity());
  }
  return mask;
}

at::Tensor pad_history(const std::vector<at::Tensor>& rows) {
  if (rows.size() == 1) return rows[0].unsqueeze(0);
  std::int64_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size(1));
  const auto count = static_cast<std::int64_t>(rows.size());
  auto out = at::zeros({count, rows[0].size(0), longest, rows[0].size(2)}, rows[0].options());
  for (std::int64_t n = 0; n < count; ++n) {
    const auto& row = rows[static_cast<std::size_t>(n)];
    out[n].narrow(1, 0, row.size(1)).copy_(row);
  }
  return out;
}

at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                            double scale) {
  return at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, scale);
}

}  // namespace quiver::ops
