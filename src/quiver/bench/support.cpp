// SPDX-License-Identifier: Apache-2.0
#include "quiver/bench/support.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/base/random.h"

namespace quiver::bench {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

double median_seconds(const std::function<void()>& work, std::int64_t runs) {
  work();
  std::vector<double> times;
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, runs); ++i) times.push_back(seconds_of(work));
  return median(times);
}

Comparison compare(const std::function<void()>& base, const std::function<void()>& work, std::int64_t runs) {
  base();
  work();
  std::vector<double> base_times, times, ratios;
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, runs); ++i) {
    base_times.push_back(seconds_of(base));
    times.push_back(seconds_of(work));
    ratios.push_back(times.back() / base_times.back());
  }
  return {median(base_times), median(times), median(ratios)};
}

std::vector<std::int32_t> random_ids(const model::Model& model, std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(model.config().vocabulary))));
  return ids;
}

void forward(const model::Model& model, const std::vector<std::vector<std::int32_t>>& rows,
             const routing::Router* router) {
  const c10::AutoGradMode no_gradient(false);
  std::vector<model::RowInput> inputs;
  for (const auto& ids : rows) inputs.push_back({ids, nullptr, true});
  const auto batch = model::pack(inputs);
  const auto experts =
      router ? routing::bind_once(*router, batch, std::vector<routing::Request>(rows.size())) : nullptr;
  model.logits(model.forward(batch, experts.get()).narrow(0, batch.tokens() - 1, 1));
}

adapter::Adapter random_adapter(const model::Model& model, std::int64_t rank) {
  adapter::LoraOptions options;
  options.rank = rank;
  options.alpha = 2.0 * static_cast<double>(rank);
  auto adapter = adapter::make_lora(model, options, 0);
  for (auto& [site, f] : adapter.sites) {
    f.a = at::randn(f.a.sizes(), at::kFloat).mul_(0.02).to(model.dtype());
    f.b = at::randn(f.b.sizes(), at::kFloat).mul_(0.02).to(model.dtype());
  }
  return adapter;
}

std::shared_ptr<adapter::Bank> random_bank(const model::Model& model, const BenchOptions& o) {
  auto bank = std::make_shared<adapter::Bank>(model);
  for (std::int64_t e = 0; e < o.experts; ++e) bank->add("expert" + std::to_string(e), random_adapter(model, o.rank));
  return bank;
}

BaseWork base_work(const model::Model& model) {
  BaseWork work;
  for (const auto& site : model.sites()) work.sites += static_cast<double>(site.in * site.out);
  work.head = static_cast<double>(model.head().numel());
  return work;
}

double weight_bytes(const model::Model& model) {
  const auto work = base_work(model);
  return (work.sites + work.head) * static_cast<double>(model.head().element_size());
}

double gemm_peak(at::ScalarType dtype, std::int64_t in, std::int64_t out) {
  constexpr std::int64_t kTokens = 1024, kRuns = 4;
  const auto x = at::randn({kTokens, in}).to(dtype), w = at::randn({out, in}).to(dtype).t();
  double best = seconds_of([&] { at::mm(x, w); });
  for (std::int64_t i = 0; i < kRuns; ++i) best = std::min(best, seconds_of([&] { at::mm(x, w); }));
  return static_cast<double>(kTokens * in * out) / best;
}

double read_bandwidth() {
  constexpr std::int64_t kFloats = std::int64_t{1} << 27;  // 512 MiB: more than any cache
  const auto memory = at::ones({kFloats}, at::kFloat);
  return static_cast<double>(kFloats * 4) / median_seconds([&] { at::sum(memory); }, 5);
}

}  // namespace quiver::bench
