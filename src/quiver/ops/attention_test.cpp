// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/attention.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace quiver::ops {
namespace {

constexpr std::int64_t kHeads = 4, kGroups = 2, kWidth = 16;

/// Query i of a row over keys [0, past + i], head by head, in float64.
at::Tensor reference(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values) {
  const auto count = q.size(0), past = keys.size(1) - count;
  auto out = at::zeros({count, kHeads * kWidth}, at::kDouble);
  for (std::int64_t h = 0; h < kHeads; ++h) {
    const auto k = keys[h / (kHeads / kGroups)].to(at::kDouble), v = values[h / (kHeads / kGroups)].to(at::kDouble);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto scores = at::matmul(k.narrow(0, 0, past + i + 1), q[i][h].to(at::kDouble)) / std::sqrt(kWidth);
      out[i].narrow(0, h * kWidth, kWidth).copy_(at::matmul(at::softmax(scores, 0), v.narrow(0, 0, past + i + 1)));
    }
  }
  return out;
}

/// Rows of `counts` new tokens after `pasts` old ones.
void check(const std::vector<std::int64_t>& counts, const std::vector<std::int64_t>& pasts, at::ScalarType dtype) {
  at::manual_seed(3);
  std::int64_t total = 0;
  for (const auto count : counts) total += count;
  const auto options = at::TensorOptions().dtype(dtype);
  const auto q = at::randn({total, kHeads, kWidth}).to(options), k = at::randn({total, kGroups, kWidth}).to(options);
  const auto v = at::randn({total, kGroups, kWidth}).to(options);
  std::vector<AttentionRow> rows;
  std::vector<at::Tensor> expected;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    AttentionRow row{begin, counts[i], {}, {}};
    const auto length = pasts[i] + counts[i];
    // A cache has room for more tokens than it holds.
    auto keys = at::randn({kGroups, length + 5, kWidth}).to(options).narrow(1, 0, length);
    auto values = at::randn({kGroups, length + 5, kWidth}).to(options).narrow(1, 0, length);
    keys.narrow(1, pasts[i], counts[i]).copy_(k.narrow(0, begin, counts[i]).transpose(0, 1));
    values.narrow(1, pasts[i], counts[i]).copy_(v.narrow(0, begin, counts[i]).transpose(0, 1));
    if (pasts[i]) row.keys = keys, row.values = values;
    expected.push_back(reference(q.narrow(0, begin, counts[i]), keys, values));
    rows.push_back(row);
    begin += counts[i];
  }
  const c10::AutoGradMode no_gradient(false);
  const auto out = packed_attention(q, k, v, rows).to(at::kDouble);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto own = out.narrow(0, rows[i].begin, rows[i].count);
    EXPECT_LT((own - expected[i]).abs().max().item<double>(), dtype == at::kBFloat16 ? 0.03 : 1e-5) << "row " << i;
  }
}

TEST(PackedAttention, RowsSeeThemselvesAndTheirPastOnly) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    check({3}, {0}, dtype);
    check({3, 1, 5, 3}, {0, 0, 0, 0}, dtype);
    check({3, 2, 4}, {4, 0, 7}, dtype);
  }
}

TEST(PackedAttention, DecodingStepsOfRowsOfUnequalPast) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    check({1}, {6}, dtype);
    check({1, 1, 1}, {1, 33, 8}, dtype);
    check({1, 2}, {5, 5}, dtype);
  }
}

TEST(PackedAttention, GradientsAreThoseOfEachRowAlone) {
  at::manual_seed(5);
  const auto options = at::TensorOptions().dtype(at::kDouble);
  // Neighbours of one length, apart ones of another, and two tokens that belong to no row.
  const std::vector<AttentionRow> rows{{0, 3, {}, {}}, {3, 3, {}, {}}, {6, 2, {}, {}}, {8, 4, {}, {}}, {12, 2, {}, {}}};
  const auto make = [&](std::int64_t heads) { return at::randn({16, heads, kWidth}, options).set_requires_grad(true); };
  const auto q = make(kHeads), k = make(kGroups), v = make(kGroups);
  const auto weights = at::randn({16, kHeads * kWidth}, options);
  (packed_attention(q, k, v, rows) * weights).sum().backward();
  const auto gq = q.grad().clone(), gk = k.grad().clone(), gv = v.grad().clone();
  for (const auto* t : {&q, &k, &v}) t->mutable_grad().reset();

  at::Tensor sum = at::zeros({}, options);
  const auto repeated = [&](const at::Tensor& t) { return t.repeat_interleave(kHeads / kGroups, 1).transpose(0, 1); };
  for (const auto& row : rows) {
    const auto own_q = q.narrow(0, row.begin, row.count).transpose(0, 1);
    const auto own_k = repeated(k.narrow(0, row.begin, row.count)), own_v = repeated(v.narrow(0, row.begin, row.count));
    const auto mask = at::full({row.count, row.count}, -1e30, options).triu(1);
    const auto p = at::softmax(at::matmul(own_q, own_k.transpose(1, 2)) / std::sqrt(kWidth) + mask, 2);
    const auto out = at::matmul(p, own_v).transpose(0, 1).reshape({row.count, kHeads * kWidth});
    sum = sum + (out * weights.narrow(0, row.begin, row.count)).sum();
  }
  sum.backward();
  EXPECT_LT((gq - q.grad()).abs().max().item<double>(), 1e-10);
  EXPECT_LT((gk - k.grad()).abs().max().item<double>(), 1e-10);
  EXPECT_LT((gv - v.grad()).abs().max().item<double>(), 1e-10);
}

/// In bfloat16 short rows go back in float32 and long ones do not: both near the gradients of the same numbers in
/// double.
TEST(PackedAttention, GradientsInBfloat16AreNearThoseInDouble) {
  at::manual_seed(6);
  const std::vector<AttentionRow> rows{{0, 40, {}, {}}, {40, 200, {}, {}}};
  const auto values = [](std::int64_t heads) { return at::randn({240, heads, kWidth}).to(at::kBFloat16); };
  const auto q = values(kHeads), k = values(kGroups), v = values(kGroups);
  const auto weights = at::randn({240, kHeads * kWidth}).to(at::kBFloat16);
  const auto gradients = [&](at::ScalarType dtype) {
    const auto leaf = [&](const at::Tensor& t) { return t.to(dtype).detach().clone().set_requires_grad(true); };
    const auto own_q = leaf(q), own_k = leaf(k), own_v = leaf(v);
    (packed_attention(own_q, own_k, own_v, rows) * weights.to(dtype)).sum().backward();
    return std::vector<at::Tensor>{own_q.grad(), own_k.grad(), own_v.grad()};
  };
  const auto got = gradients(at::kBFloat16), expected = gradients(at::kDouble);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].scalar_type(), at::kBFloat16);
    const auto largest = expected[i].abs().max().item<double>();
    EXPECT_LT((got[i].to(at::kDouble) - expected[i]).abs().max().item<double>() / largest, 0.03) << i;
  }
}

}  // namespace
}  // namespace quiver::ops
