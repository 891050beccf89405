// SPDX-License-Identifier: Apache-2.0
// What the cases of `quiver bench` share: timing, random models' parts, and the machine's bounds.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "quiver/bench/cases.h"
#include "quiver/bench/resources.h"

namespace quiver::bench {

double median(std::vector<double> values);
/// Median of `runs` after one warm-up.
double median_seconds(const std::function<void()>& work, std::int64_t runs);

/// Times two works in turn, so that what else the machine does falls on both.
struct Comparison {
  double base_seconds = 0.0;  ///< medians
  double seconds = 0.0;
  double ratio = 0.0;  ///< median of the turns' ratios
};
Comparison compare(const std::function<void()>& base, const std::function<void()>& work, std::int64_t runs);

std::vector<std::int32_t> random_ids(const model::Model& model, std::int64_t count, std::uint64_t seed);
/// A pass over rows of token ids with logits of the last token, under `router` (null: base).
void forward(const model::Model& model, const std::vector<std::vector<std::int32_t>>& rows,
             const routing::Router* router);
/// On all sites, A and B normal with deviation 0.02.
adapter::Adapter random_adapter(const model::Model& model, std::int64_t rank);
std::shared_ptr<adapter::Bank> random_bank(const model::Model& model, const BenchOptions& options);

/// Products of two numbers, with their addition, that the base's linear maps take: per token, and per position of
/// logits.
struct BaseWork {
  double sites = 0.0;
  double head = 0.0;
};
BaseWork base_work(const model::Model& model);
/// Bytes of weights that a decoding step reads.
double weight_bytes(const model::Model& model);

/// Products a second of LibTorch's GEMM at x [1024, in] times a weight [out, in], the best of a few runs.
double gemm_peak(at::ScalarType dtype, std::int64_t in, std::int64_t out);
/// Bytes a second that all threads read from memory together.
double read_bandwidth();

nlohmann::json bench_machine(const BenchOptions& options);
nlohmann::json bench_train(const BenchOptions& options);
nlohmann::json bench_together(const BenchOptions& options);
nlohmann::json bench_prefill(const BenchOptions& options);
nlohmann::json bench_decode(const BenchOptions& options);
nlohmann::json bench_decode_arrow(const BenchOptions& options);
nlohmann::json bench_arrow(const BenchOptions& options);
nlohmann::json bench_mixed(const BenchOptions& options);
nlohmann::json bench_load(const BenchOptions& options);
nlohmann::json bench_library(const BenchOptions& options);

}  // namespace quiver::bench
