// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/randint.h>

#include "quiver/bench/support.h"

namespace quiver::bench {
namespace {

double int8_peak(std::int64_t in, std::int64_t out) {
  constexpr std::int64_t kTokens = 1024;
  const auto x = at::randint(-127, 127, {kTokens, in}, at::kChar), w = at::randint(-127, 127, {out, in}, at::kChar).t();
  return static_cast<double>(kTokens * in * out) / median_seconds([&] { at::_int_mm(x, w); }, 2);
}

}  // namespace

/// The bounds that the other cases are held against, at the shapes of the model's widest maps. A product with its
/// addition counts as two operations.
nlohmann::json bench_machine(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const auto hidden = model.config().hidden, wide = model.config().feed_forward;
  const auto giga = [](double products) { return 2.0 * products / 1e9; };
  return {{"gemm_float32_gflops_up", giga(gemm_peak(at::kFloat, hidden, 2 * wide))},
          {"gemm_float32_gflops_down", giga(gemm_peak(at::kFloat, wide, hidden))},
          {"gemm_bfloat16_gflops_up", giga(gemm_peak(at::kBFloat16, hidden, 2 * wide))},
          {"gemm_bfloat16_gflops_down", giga(gemm_peak(at::kBFloat16, wide, hidden))},
          {"gemm_int8_gops_up", giga(int8_peak(hidden, 2 * wide))},
          {"read_gigabytes_per_second", read_bandwidth() / 1e9}};
}

}  // namespace quiver::bench
