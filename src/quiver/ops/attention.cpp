// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <map>

#include "quiver/base/error.h"

namespace quiver::ops {
namespace {

/// Keys or values of a group of rows, [N, H, S, D], each kv head repeated for its query heads.
at::Tensor repeat_heads(const at::Tensor& kv, std::int64_t heads) {
  const auto groups = heads / kv.size(1);
  if (groups == 1) return kv;
  return kv.unsqueeze(2)
      .expand({kv.size(0), kv.size(1), groups, kv.size(2), kv.size(3)})
      .reshape({kv.size(0), heads, kv.size(2), kv.size(3)});
}

/// [count, past + count]: 0 where key j may be seen by query i (j <= past + i), -inf elsewhere.
at::Tensor causal_mask(std::int64_t count, std::int64_t past, const at::TensorOptions& options) {
  return at::full({count, past + count}, -std::numeric_limits<float>::infinity(), options).triu_(past + 1);
}

struct Shape {
  std::int64_t count, past;
  auto operator<=>(const Shape&) const = default;
};

/// Rows of one shape, attended in one call: q [N, H, L, D].
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Shape& shape) {
  const bool square = shape.past == 0;
  const bool masked = !square && shape.count > 1;
  const std::optional<at::Tensor> mask =
      masked ? std::optional<at::Tensor>(causal_mask(shape.count, shape.past, q.options())) : std::nullopt;
  return at::scaled_dot_product_attention(q, repeat_heads(k, q.size(1)), repeat_heads(v, q.size(1)), mask, 0.0,
                                          square && shape.count > 1);
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<AttentionRow>& rows) {
  const auto heads = q.size(1), width = q.size(2);
  QUIVER_CHECK(heads % k.size(1) == 0, mismatch, "attention", "{} query heads are not a multiple of {} kv heads", heads,
               k.size(1));
  std::map<Shape, std::vector<const AttentionRow*>> by_shape;
  for (const auto& row : rows) {
    if (row.count) by_shape[{row.count, row.keys.defined() ? row.keys.size(1) - row.count : 0}].push_back(&row);
  }

  // Groups of equal shape are stacked, attended in one call, and their rows put back in the order of the batch.
  std::vector<at::Tensor> parts;
  std::map<std::int64_t, std::int64_t> begin_in_parts;
  std::int64_t covered = 0;
  for (const auto& [shape, members] : by_shape) {
    const auto stack = [&](const at::Tensor& all, at::Tensor AttentionRow::*history) {
      std::vector<at::Tensor> each;
      for (const auto* row : members) {
        const bool own = history == nullptr || !(row->*history).defined();
        each.push_back((own ? all.narrow(0, row->begin, row->count).transpose(0, 1) : row->*history).unsqueeze(0));
      }
      return each.size() == 1 ? each[0] : at::cat(each, 0);
    };
    const auto out = attend(stack(q, nullptr), stack(k, &AttentionRow::keys), stack(v, &AttentionRow::values), shape);
    parts.push_back(out.transpose(1, 2).reshape({-1, heads * width}));
    for (const auto* row : members) {
      begin_in_parts[row->begin] = covered;
      covered += row->count;
    }
  }
  if (parts.size() == 1 && covered == q.size(0) && rows.size() == 1) return parts[0];

  const auto stacked = at::cat(parts, 0);
  std::vector<at::Tensor> ordered;
  std::int64_t next = 0;
  for (const auto& [begin, at] : begin_in_parts) {
    std::int64_t count = 0;
    for (const auto& row : rows) {
      if (row.begin == begin) count = row.count;
    }
    if (begin > next) ordered.push_back(at::zeros({begin - next, heads * width}, q.options()));
    ordered.push_back(stacked.narrow(0, at, count));
    next = begin + count;
  }
  if (next < q.size(0)) ordered.push_back(at::zeros({q.size(0) - next, heads * width}, q.options()));
  return at::cat(ordered, 0);
}

}  // namespace quiver::ops
