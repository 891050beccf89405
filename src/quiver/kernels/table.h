// SPDX-License-Identifier: Apache-2.0
// The one table of kernels: a set of functions per instruction set, chosen once.
#pragma once

#include <tuple>

#include "quiver/kernels/add_low_rank.h"
#include "quiver/kernels/attend_one.h"
#include "quiver/kernels/dot_rows.h"
#include "quiver/kernels/isa.h"
#include "quiver/kernels/norm_rows.h"
#include "quiver/kernels/rotate_half.h"

namespace quiver::kernels {

struct Table {
  template <template <typename, typename> typename Kernel>
  using Pairs = std::tuple<Kernel<float, float>*, Kernel<float, Bfloat16>*, Kernel<Bfloat16, float>*,
                           Kernel<Bfloat16, Bfloat16>*>;
  template <template <typename> typename Kernel>
  using Singles = std::tuple<Kernel<float>*, Kernel<Bfloat16>*>;

  Pairs<DotRowsKernel> dot_rows;
  Pairs<AddLowRankKernel> add_low_rank;
  Singles<NormRowsKernel> norm_rows;
  Singles<RotateHalfKernel> rotate_half;
  Singles<AttendOneKernel> attend_one;
};

/// The kernels of an instruction set that is available.
const Table& table_of(Isa isa);
/// Those of active_isa().
const Table& active_table();

template <typename X, typename W>
void dot_rows(const DotRows<X, W>& product, std::int64_t begin, std::int64_t end) {
  std::get<DotRowsKernel<X, W>*>(active_table().dot_rows)(product, begin, end);
}
template <typename Y, typename B>
void add_low_rank(const AddLowRank<Y, B>& product, std::int64_t begin, std::int64_t end) {
  std::get<AddLowRankKernel<Y, B>*>(active_table().add_low_rank)(product, begin, end);
}
template <typename T>
void norm_rows(const NormRows<T>& norm, std::int64_t begin, std::int64_t end) {
  std::get<NormRowsKernel<T>*>(active_table().norm_rows)(norm, begin, end);
}
template <typename T>
void rotate_half(const RotateHalf<T>& rotation, std::int64_t begin, std::int64_t end) {
  std::get<RotateHalfKernel<T>*>(active_table().rotate_half)(rotation, begin, end);
}
template <typename T>
void attend_one(const AttendOne<T>& query) {
  std::get<AttendOneKernel<T>*>(active_table().attend_one)(query);
}

}  // namespace quiver::kernels
