// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <c10/core/GradMode.h>

#include <cmath>
#include <limits>
#include <map>

#include "quiver/base/error.h"
#include "quiver/kernels/table.h"
#include "quiver/ops/kernel_dispatch.h"

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

/// True where each row begins where the one before ends.
bool are_neighbours(const std::vector<const AttentionRow*>& rows) {
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i]->begin != rows[i - 1]->begin + rows[i - 1]->count) return false;
  }
  return true;
}

/// Rows of one shape, attended in one call: q [N, H, L, D].
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Shape& shape) {
  const bool square = shape.past == 0;
  const bool masked = !square && shape.count > 1;
  const std::optional<at::Tensor> mask =
      masked ? std::optional<at::Tensor>(causal_mask(shape.count, shape.past, q.options())) : std::nullopt;
  return at::scaled_dot_product_attention(q, repeat_heads(k, q.size(1)), repeat_heads(v, q.size(1)), mask, 0.0,
                                          square && shape.count > 1);
}

/// True where each row is one new token after a history, and nothing is differentiated: a step of decoding.
bool is_decoding(const at::Tensor& q, const std::vector<AttentionRow>& rows) {
  if (c10::GradMode::is_enabled() || !kernels_serve(q) || q.size(0) != static_cast<std::int64_t>(rows.size()))
    return false;
  return std::all_of(rows.begin(), rows.end(), [](const auto& row) {
    return row.count == 1 && row.keys.defined() && kernels_serve(row.keys) && kernels_serve(row.values);
  });
}

/// One query a row. Heads are shared out among threads; nothing is copied, not even for heads that share keys.
at::Tensor decode_attention(const at::Tensor& q, const std::vector<AttentionRow>& rows) {
  const auto heads = q.size(1), width = q.size(2);
  const auto dense = q.contiguous();
  auto out = at::empty({q.size(0), heads * width}, q.options());
  with_element(q.scalar_type(), [&](auto element) {
    using T = decltype(element);
    at::parallel_for(0, q.size(0) * heads, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> scores;
      for (std::int64_t i = begin; i < end; ++i) {
        const auto& row = rows[static_cast<std::size_t>(i / heads)];
        const auto group = heads / row.keys.size(0), count = row.keys.size(1);
        const auto keys = row.keys.select(0, i % heads / group), values = row.values.select(0, i % heads / group);
        scores.resize(static_cast<std::size_t>(count));
        const auto at = (row.begin * heads + i % heads) * width;
        kernels::attend_one(kernels::AttendOne<T>{entries<T>(dense) + at, entries<T>(keys), entries<T>(values),
                                                  keys.stride(0), values.stride(0), count, width,
                                                  static_cast<float>(1.0 / std::sqrt(static_cast<double>(width))),
                                                  scores.data(), writable_entries<T>(out) + at});
      }
    });
  });
  return out;
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<AttentionRow>& rows) {
  const auto heads = q.size(1), width = q.size(2);
  QUIVER_CHECK(heads % k.size(1) == 0, mismatch, "attention", "{} query heads are not a multiple of {} kv heads", heads,
               k.size(1));
  if (is_decoding(q, rows)) return decode_attention(q, rows);
  std::map<Shape, std::vector<const AttentionRow*>> by_shape;
  for (const auto& row : rows) {
    if (row.count) by_shape[{row.count, row.keys.defined() ? row.keys.size(1) - row.count : 0}].push_back(&row);
  }

  // Groups of equal shape are stacked, attended in one call, and their rows put back in the order of the batch.
  std::vector<at::Tensor> parts;
  std::map<std::int64_t, std::int64_t> begin_in_parts;
  std::int64_t covered = 0;
  for (const auto& [shape, members] : by_shape) {
    const bool neighbours = shape.past == 0 && are_neighbours(members);
    const auto stack = [&, &shape = shape, &members = members](const at::Tensor& all,
                                                               at::Tensor AttentionRow::*history) {
      const auto count = static_cast<std::int64_t>(members.size());
      if (neighbours) {  // a view
        return all.narrow(0, members[0]->begin, count * shape.count)
            .view({count, shape.count, all.size(1), width})
            .transpose(1, 2);
      }
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
  const bool in_order = parts.size() == 1 && are_neighbours(by_shape.begin()->second);
  if (in_order && covered == q.size(0)) return parts[0];

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
