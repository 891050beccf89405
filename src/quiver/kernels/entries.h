// SPDX-License-Identifier: Apache-2.0
// No include guard: baseline.cpp, avx2.cpp and avx512.cpp each include this once, after they have defined
//   QUIVER_TARGET   the function attribute of their instruction set
//   QUIVER_LANES    floats of a vector
// inside a namespace of their own. It compiles the bodies and lists them in a table.

template <typename X, typename W>
QUIVER_TARGET void dot_rows_entry(const DotRows<X, W>& k, std::int64_t begin, std::int64_t end) {
  dot_rows_body<QUIVER_LANES>(k, begin, end);
}
template <typename Y, typename B>
QUIVER_TARGET void add_low_rank_entry(const AddLowRank<Y, B>& k, std::int64_t begin, std::int64_t end) {
  add_low_rank_body<QUIVER_LANES>(k, begin, end);
}
template <typename T>
QUIVER_TARGET void norm_rows_entry(const NormRows<T>& k, std::int64_t begin, std::int64_t end) {
  norm_rows_body<QUIVER_LANES>(k, begin, end);
}
template <typename T>
QUIVER_TARGET void rotate_half_entry(const RotateHalf<T>& k, std::int64_t begin, std::int64_t end) {
  rotate_half_body<QUIVER_LANES>(k, begin, end);
}
template <typename T>
QUIVER_TARGET void attend_one_entry(const AttendOne<T>& k) {
  attend_one_body<QUIVER_LANES>(k);
}

constexpr Table kTable{
    {dot_rows_entry<float, float>, dot_rows_entry<float, Bfloat16>, dot_rows_entry<Bfloat16, float>,
     dot_rows_entry<Bfloat16, Bfloat16>},
    {add_low_rank_entry<float, float>, add_low_rank_entry<float, Bfloat16>, add_low_rank_entry<Bfloat16, float>,
     add_low_rank_entry<Bfloat16, Bfloat16>},
    {norm_rows_entry<float>, norm_rows_entry<Bfloat16>},
    {rotate_half_entry<float>, rotate_half_entry<Bfloat16>},
    {attend_one_entry<float>, attend_one_entry<Bfloat16>},
};
