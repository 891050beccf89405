// SPDX-License-Identifier: Apache-2.0
// Every kernel on every instruction set that this machine has, against sums in double.
#include "quiver/kernels/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quiver/base/random.h"

namespace quiver::kernels {
namespace {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

template <typename T>
double rounding() {
  return std::is_same_v<T, Bfloat16> ? 1.0 / 256 : kEpsilon;
}

template <typename T>
std::vector<T> random_entries(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> out(static_cast<std::size_t>(count));
  for (auto& value : out) narrow(static_cast<float>(random.uniform() * 2 - 1), value);
  return out;
}

std::int64_t row_number(const RowList& rows, std::int64_t i) { return rows.named ? rows.named[i] : rows.first + i; }

/// Calls test(isa) for each available instruction set.
template <typename Test>
void on_every_isa(Test test) {
  for (const auto isa : available_isas()) {
    SCOPED_TRACE(name(isa));
    test(table_of(isa));
  }
}

template <typename Test>
void of_every_pair(Test test) {
  test(float{}, float{});
  test(float{}, Bfloat16{});
  test(Bfloat16{}, float{});
  test(Bfloat16{}, Bfloat16{});
}

TEST(DotRows, EqualsASumInDouble) {
  of_every_pair([](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    const std::vector<std::int64_t> named{6, 0, 3, 2, 9, 8, 1, 5, 4};
    for (const std::int64_t columns : {1, 7, 8, 15, 16, 17, 33, 576}) {
      for (const std::int64_t outputs : {0, 1, 3, 4, 5, 17}) {
        for (const std::int64_t count : {0, 1, 3, 4, 5, 9}) {
          const auto x = random_entries<X>(10 * (columns + 3), 1);
          const auto w = random_entries<W>(outputs * (columns + 1), 2);
          const auto weights = random_entries<float>(count, 3);
          for (const bool by_name : {false, true}) {
            const RowList rows{by_name ? named.data() : nullptr, 1, count};
            on_every_isa([&](const Table& table) {
              std::vector<float> y(static_cast<std::size_t>(count * (outputs + 2)), 7.0f);
              DotRows<X, W> k{x.data(), columns + 3, rows,        w.data(),       columns + 1,
                              columns,  y.data(),    outputs + 2, weights.data(), 0.5f};
              if (!by_name) k.weights = nullptr;
              const auto split = outputs / 2;
              std::get<DotRowsKernel<X, W>*>(table.dot_rows)(k, 0, split);
              std::get<DotRowsKernel<X, W>*>(table.dot_rows)(k, split, outputs);
              for (std::int64_t i = 0; i < count; ++i) {
                for (std::int64_t o = 0; o < outputs; ++o) {
                  double sum = 0.0, size = 0.0;
                  for (std::int64_t c = 0; c < columns; ++c) {
                    const double term = static_cast<double>(widen(
                                            x[static_cast<std::size_t>(row_number(rows, i) * (columns + 3) + c)])) *
                                        widen(w[static_cast<std::size_t>(o * (columns + 1) + c)]);
                    sum += term;
                    size += std::abs(term);
                  }
                  const double factor = by_name ? 0.5 * weights[static_cast<std::size_t>(i)] : 0.5;
                  ASSERT_NEAR(y[static_cast<std::size_t>(i * (outputs + 2) + o)], factor * sum,
                              (static_cast<double>(columns) + 2) * kEpsilon * size + 1e-12);
                }
                for (std::int64_t o = outputs; o < outputs + 2; ++o)
                  ASSERT_EQ(y[static_cast<std::size_t>(i * (outputs + 2) + o)], 7.0f);
              }
            });
          }
        }
      }
    }
  });
}

TEST(AddLowRank, EqualsASumInDouble) {
  of_every_pair([](auto y_type, auto b_type) {
    using Y = decltype(y_type);
    using B = decltype(b_type);
    const std::vector<std::int64_t> named{3, 0, 4};
    for (const std::int64_t rank : {1, 3, 4, 16, 63, 64, 65, 130}) {
      for (const std::int64_t outputs : {0, 1, 63, 64, 65, 130}) {
        for (const std::int64_t count : {0, 1, 3}) {
          const auto start = random_entries<Y>(5 * (outputs + 1), 1);
          const auto h = random_entries<float>(count * rank, 2);
          const auto b = random_entries<B>(outputs * rank, 3);
          on_every_isa([&](const Table& table) {
            auto y = start;
            const RowList rows{count == 3 ? named.data() : nullptr, 2, count};
            const AddLowRank<Y, B> k{y.data(), outputs + 1, rows, h.data(), rank, b.data()};
            const auto split = outputs / 3;
            std::get<AddLowRankKernel<Y, B>*>(table.add_low_rank)(k, 0, split);
            std::get<AddLowRankKernel<Y, B>*>(table.add_low_rank)(k, split, outputs);
            std::vector<double> expected(start.size()), size(start.size());
            for (std::size_t i = 0; i < start.size(); ++i) size[i] = std::abs(expected[i] = widen(start[i]));
            for (std::int64_t i = 0; i < count; ++i) {
              for (std::int64_t o = 0; o < outputs; ++o) {
                const auto at = static_cast<std::size_t>(row_number(rows, i) * (outputs + 1) + o);
                for (std::int64_t r = 0; r < rank; ++r) {
                  const double term = static_cast<double>(h[static_cast<std::size_t>(i * rank + r)]) *
                                      widen(b[static_cast<std::size_t>(o * rank + r)]);
                  expected[at] += term;
                  size[at] += std::abs(term);
                }
              }
            }
            const double roundings = static_cast<double>((rank + 63) / 64);
            for (std::size_t i = 0; i < start.size(); ++i)
              ASSERT_NEAR(widen(y[i]), expected[i],
                          size[i] * ((static_cast<double>(rank) + 1) * kEpsilon + roundings * rounding<Y>()))
                  << i;
          });
        }
      }
    }
  });
}

template <typename T>
void check_norm_rows() {
  for (const std::int64_t columns : {1, 7, 8, 16, 17, 31, 32, 33, 576}) {
    const std::int64_t tokens = 3;
    const auto x = random_entries<T>(tokens * columns, 1);
    const auto weight = random_entries<T>(columns, 2);
    on_every_isa([&](const Table& table) {
      std::vector<T> out(x.size());
      std::vector<float> inverse(3);
      std::get<NormRowsKernel<T>*>(table.norm_rows)(
          {x.data(), weight.data(), out.data(), inverse.data(), columns, 1e-5f}, 0, tokens);
      for (std::int64_t t = 0; t < tokens; ++t) {
        double squares = 0.0;
        for (std::int64_t c = 0; c < columns; ++c)
          squares += std::pow(widen(x[static_cast<std::size_t>(t * columns + c)]), 2.0);
        const double expected = 1.0 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
        const double near = (static_cast<double>(columns) + 4) * kEpsilon;
        ASSERT_NEAR(inverse[static_cast<std::size_t>(t)], expected, expected * near);
        for (std::int64_t c = 0; c < columns; ++c) {
          const auto at = static_cast<std::size_t>(t * columns + c);
          const double value = widen(x[at]) * expected * widen(weight[static_cast<std::size_t>(c)]);
          ASSERT_NEAR(widen(out[at]), value, std::abs(value) * (near + rounding<T>()));
        }
      }
    });
  }
}
TEST(NormRows, EqualsTheFormulaInFloat) { check_norm_rows<float>(); }
TEST(NormRows, EqualsTheFormulaInBfloat16) { check_norm_rows<Bfloat16>(); }

template <typename T>
void check_rotate_half() {
  for (const std::int64_t half : {1, 3, 4, 8, 15, 16, 17, 32}) {
    const std::int64_t tokens = 2, heads = 3, token_stride = heads * 2 * half + 5, head_stride = 2 * half + 1;
    const auto x = random_entries<T>(tokens * (token_stride + heads), 1);
    const auto cosine = random_entries<float>(tokens * half, 2), sine = random_entries<float>(tokens * half, 3);
    for (const float sign : {1.0f, -1.0f}) {
      on_every_isa([&](const Table& table) {
        std::vector<T> out(static_cast<std::size_t>(tokens * heads * 2 * half));
        std::get<RotateHalfKernel<T>*>(table.rotate_half)(
            {x.data(), token_stride, head_stride, out.data(), heads * 2 * half, heads, half, cosine.data(), sine.data(),
             sign},
            0, tokens);
        for (std::int64_t t = 0; t < tokens; ++t) {
          for (std::int64_t h = 0; h < heads; ++h) {
            for (std::int64_t c = 0; c < half; ++c) {
              const auto from = static_cast<std::size_t>(t * token_stride + h * head_stride + c);
              const double a = widen(x[from]), b = widen(x[from + static_cast<std::size_t>(half)]);
              const auto angle = static_cast<std::size_t>(t * half + c);
              const double cos = cosine[angle], sin = sign * sine[angle];
              const auto to = static_cast<std::size_t>((t * heads + h) * 2 * half + c);
              const double near = 4 * kEpsilon + rounding<T>();
              ASSERT_NEAR(widen(out[to]), a * cos - b * sin, near * 2);
              ASSERT_NEAR(widen(out[to + static_cast<std::size_t>(half)]), b * cos + a * sin, near * 2);
            }
          }
        }
      });
    }
  }
}
TEST(RotateHalf, EqualsTheFormulaInFloat) { check_rotate_half<float>(); }
TEST(RotateHalf, EqualsTheFormulaInBfloat16) { check_rotate_half<Bfloat16>(); }

template <typename T>
void check_attend_one() {
  for (const std::int64_t width : {2, 8, 31, 32, 33, 64, 80}) {
    for (const std::int64_t count : {1, 2, 4, 7, 65}) {
      const std::int64_t stride = width + 3;
      const auto q = random_entries<T>(width, 1);
      const auto keys = random_entries<T>(count * stride, 2), values = random_entries<T>(count * stride, 3);
      on_every_isa([&](const Table& table) {
        std::vector<float> scores(static_cast<std::size_t>(count));
        std::vector<T> out(static_cast<std::size_t>(width));
        std::get<AttendOneKernel<T>*>(table.attend_one)(
            {q.data(), keys.data(), values.data(), stride, stride, count, width, 0.7f, scores.data(), out.data()});
        std::vector<double> p(static_cast<std::size_t>(count), 0.0);
        double total = 0.0;
        for (std::int64_t s = 0; s < count; ++s) {
          for (std::int64_t c = 0; c < width; ++c)
            p[static_cast<std::size_t>(s)] += static_cast<double>(widen(q[static_cast<std::size_t>(c)])) *
                                              widen(keys[static_cast<std::size_t>(s * stride + c)]);
          total += p[static_cast<std::size_t>(s)] = std::exp(0.7 * p[static_cast<std::size_t>(s)]);
        }
        for (std::int64_t c = 0; c < width; ++c) {
          double expected = 0.0;
          for (std::int64_t s = 0; s < count; ++s)
            expected +=
                p[static_cast<std::size_t>(s)] / total * widen(values[static_cast<std::size_t>(s * stride + c)]);
          // A score's error e scales its probability by exp(e); values lie in [-1, 1].
          const double near = 4 * static_cast<double>(width + count) * kEpsilon + rounding<T>();
          ASSERT_NEAR(widen(out[static_cast<std::size_t>(c)]), expected, near);
        }
      });
    }
  }
}
TEST(AttendOne, EqualsTheFormulaInFloat) { check_attend_one<float>(); }
TEST(AttendOne, EqualsTheFormulaInBfloat16) { check_attend_one<Bfloat16>(); }

TEST(Bfloat16, RoundsToNearestEvenAndKeepsNaN) {
  const std::vector<float> values{1.0f,
                                  1.00390625f,
                                  1.01171875f,
                                  std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity(),
                                  -3.14159f,
                                  0.0f,
                                  1e-40f};
  // A rotation by no angle stores each value through the vector path.
  for (const auto isa : available_isas()) {
    std::vector<Bfloat16> x(32), out(32);
    std::vector<float> one(16, 1.0f), zero(16, 0.0f);
    for (std::size_t i = 0; i < values.size(); ++i) narrow(values[i], x[i]);
    std::get<RotateHalfKernel<Bfloat16>*>(table_of(isa).rotate_half)(
        {x.data(), 32, 32, out.data(), 32, 1, 16, one.data(), zero.data(), 1.0f}, 0, 1);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(out[i].bits, x[i].bits) << name(isa) << i;
    EXPECT_TRUE(std::isnan(widen(out[3])));
  }
  Bfloat16 half;
  narrow(1.00390625f, half);  // halfway between 1 and 1.0078125: to the even one
  EXPECT_EQ(widen(half), 1.0f);
  narrow(1.01171875f, half);
  EXPECT_EQ(widen(half), 1.015625f);
}

}  // namespace
}  // namespace quiver::kernels
