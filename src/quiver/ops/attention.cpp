// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "quiver/base/error.h"
#include "quiver/kernels/table.h"
#include "quiver/ops/kernel_dispatch.h"

namespace quiver::ops {
namespace {

/// Keys or values of a group of rows, [N, K, S, D], each kv head repeated for its query heads: [N, H, S, D].
at::Tensor repeat_heads(const at::Tensor& kv, std::int64_t heads) {
  const auto groups = heads / kv.size(1);
  if (groups == 1) return kv;
  return kv.unsqueeze(2)
      .expand({kv.size(0), kv.size(1), groups, kv.size(2), kv.size(3)})
      .reshape({kv.size(0), heads, kv.size(2), kv.size(3)});
}

/// The gradient of repeat_heads: [N, H, S, D] -> [N, K, S, D].
at::Tensor sum_heads(const at::Tensor& gradient, std::int64_t kv_heads) {
  const auto groups = gradient.size(1) / kv_heads;
  if (groups == 1) return gradient;
  return gradient.reshape({gradient.size(0), kv_heads, groups, gradient.size(2), gradient.size(3)}).sum(2);
}

/// [count, past + count]: 0 where key j may be seen by query i (j <= past + i), -inf elsewhere.
at::Tensor causal_mask(std::int64_t count, std::int64_t past, const at::TensorOptions& options) {
  return at::full({count, past + count}, -std::numeric_limits<float>::infinity(), options).triu_(past + 1);
}

struct Shape {
  std::int64_t count, past;
  auto operator<=>(const Shape&) const = default;
};

/// Rows of one shape: they are stacked and attended in one call.
struct Group {
  Shape shape;
  std::vector<const AttentionRow*> rows;
  bool neighbours = true;  ///< each row begins where the one before ends, so that a stack is a view
};

std::vector<Group> groups_of(const std::vector<AttentionRow>& rows) {
  std::map<Shape, Group> by_shape;
  for (const auto& row : rows) {
    if (row.count == 0) continue;
    const Shape shape{row.count, row.keys.defined() ? row.keys.size(1) - row.count : 0};
    auto& group = by_shape[shape];
    group.shape = shape;
    if (!group.rows.empty()) group.neighbours &= row.begin == group.rows.back()->begin + row.count;
    group.rows.push_back(&row);
  }
  std::vector<Group> out;
  for (auto& [shape, group] : by_shape) out.push_back(std::move(group));
  return out;
}

/// The group's own tokens of `all` [T, H, D] as [N, H, L, D].
at::Tensor stacked(const at::Tensor& all, const Group& group) {
  const auto count = static_cast<std::int64_t>(group.rows.size()), length = group.shape.count;
  if (group.neighbours) {
    return all.narrow(0, group.rows[0]->begin, count * length)
        .view({count, length, all.size(1), all.size(2)})
        .transpose(1, 2);
  }
  std::vector<at::Tensor> each;
  for (const auto* row : group.rows) each.push_back(all.narrow(0, row->begin, length));
  return at::stack(each, 0).transpose(1, 2);
}

/// Keys or values with what the caches hold before them, [N, K, S, D].
at::Tensor stacked(const at::Tensor& all, at::Tensor AttentionRow::*history, const Group& group) {
  if (group.shape.past == 0) return stacked(all, group);
  std::vector<at::Tensor> each;
  for (const auto* row : group.rows) each.push_back(row->*history);
  return each.size() == 1 ? each[0].unsqueeze(0) : at::stack(each, 0);
}

/// Writes [N, H, L, D] to the group's tokens of `all` [T, H, D].
void put_back(const at::Tensor& of_group, const Group& group, const at::Tensor& all) {
  if (group.neighbours) {
    stacked(all, group).copy_(of_group);
    return;
  }
  for (std::size_t i = 0; i < group.rows.size(); ++i)
    all.narrow(0, group.rows[i]->begin, group.shape.count)
        .copy_(of_group[static_cast<std::int64_t>(i)].transpose(0, 1));
}

/// Uninitialised where the groups cover every token, else zeros.
at::Tensor room_for(const std::vector<Group>& groups, const at::Tensor& like) {
  std::int64_t covered = 0;
  for (const auto& group : groups) covered += group.shape.count * static_cast<std::int64_t>(group.rows.size());
  return covered == like.size(0) ? at::empty(like.sizes(), like.options()) : at::zeros(like.sizes(), like.options());
}

/// Rows below this length go backward in float32: torch's backward pass in bfloat16 costs three to ten times as much
/// for them (16 rows of 9 heads: 20 tokens 15.1 against 1.4 ms, 40 57 against 14, 128 118 against 56, 192 41 against
/// 39), and a little less from about 200 on. Its sums are formed in float32 either way.
constexpr std::int64_t kShort_row = 160;

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows without a history, differentiable. The gradients are written to their tokens in place: as slices of q, k and v,
/// each row would make gradients of the whole batch's size and add them up.
struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::vector<AttentionRow> rows) {
    const auto groups = groups_of(rows);
    const auto out = room_for(groups, q);
    std::vector<at::Tensor> saved{q, k, v, out};
    for (const auto& group : groups) {
      auto [own, normaliser] =
          at::_scaled_dot_product_flash_attention_for_cpu(stacked(q, group), repeat_heads(stacked(k, group), q.size(1)),
                                                          repeat_heads(stacked(v, group), q.size(1)), 0.0, true);
      put_back(own, group, out);
      saved.push_back(normaliser);
    }
    context->save_for_backward(std::move(saved));
    std::vector<std::int64_t> places;
    for (const auto& row : rows) places.insert(places.end(), {row.begin, row.count});
    context->saved_data["places"] = places;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3];
    const auto heads = q.size(1), kv_heads = k.size(1);
    const auto places = context->saved_data["places"].toIntVector();
    std::vector<AttentionRow> rows;
    for (std::size_t i = 0; i < places.size(); i += 2) rows.push_back({places[i], places[i + 1], {}, {}});
    const auto groups = groups_of(rows);
    const auto g = gradients[0].contiguous();
    const auto gq = room_for(groups, q), gk = room_for(groups, k), gv = room_for(groups, v);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const auto& group = groups[i];
      const bool widened = q.scalar_type() == at::kBFloat16 && group.shape.count < kShort_row;
      const auto dtype = widened ? at::kFloat : q.scalar_type();
      const auto of = [&](const at::Tensor& all) { return stacked(all, group).to(dtype); };
      const auto [own_q, own_k, own_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          of(g), of(q), repeat_heads(of(k), heads), repeat_heads(of(v), heads), of(out), saved[4 + i], 0.0, true);
      put_back(own_q, group, gq);
      put_back(sum_heads(own_k, kv_heads), group, gk);
      put_back(sum_heads(own_v, kv_heads), group, gv);
    }
    return {gq, gk, gv, {}};
  }
};

/// Without gradients, rows with and without a history.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::vector<AttentionRow>& rows) {
  const auto groups = groups_of(rows);
  const auto out = room_for(groups, q);
  for (const auto& group : groups) {
    const bool square = group.shape.past == 0, several = group.shape.count > 1;
    const auto mask = !square && several
                          ? std::optional<at::Tensor>(causal_mask(group.shape.count, group.shape.past, q.options()))
                          : std::nullopt;
    const auto own = at::scaled_dot_product_attention(
        stacked(q, group), repeat_heads(stacked(k, &AttentionRow::keys, group), q.size(1)),
        repeat_heads(stacked(v, &AttentionRow::values, group), q.size(1)), mask, 0.0, square && several);
    put_back(own, group, out);
  }
  return out;
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
  QUIVER_CHECK(q.size(1) % k.size(1) == 0, mismatch, "attention", "{} query heads are not a multiple of {} kv heads",
               q.size(1), k.size(1));
  if (is_decoding(q, rows)) return decode_attention(q, rows);
  const bool differentiates =
      c10::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  const auto flat = [&](const at::Tensor& out) { return out.view({q.size(0), q.size(1) * q.size(2)}); };
  if (!differentiates) return flat(attend(q, k, v, rows));
  const bool history = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.keys.defined(); });
  QUIVER_CHECK(!history, unsupported, "attention", "rows with a cache have no gradients");
  return flat(PackedAttention::apply(q, k, v, rows));
}

}  // namespace quiver::ops
