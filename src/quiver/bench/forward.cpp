// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "quiver/bench/support.h"
#include "quiver/routing/token/directions.h"
#include "quiver/routing/token/token_router.h"
#include "quiver/serving/generate.h"

namespace quiver::bench {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::int32_t>>;

json routed_figures(const Comparison& result, const BenchOptions& o, std::int64_t tokens) {
  return {{"experts", o.experts},
          {"base_seconds", result.base_seconds},
          {"seconds", result.seconds},
          {"ratio", result.ratio},
          {"tokens_per_second", static_cast<double>(tokens) / result.seconds}};
}

routing::TokenRouter arrow_router(const model::Model& model, const BenchOptions& o) {
  SilentProgress silent;
  const auto bank = random_bank(model, o);
  auto scores = std::make_shared<routing::DirectionScores>(routing::compute_directions(*bank, {}, silent), bank->size(),
                                                           routing::DirectionScoreOptions{});
  return {bank, std::move(scores), {}};
}

/// Tokens a second after the first one, which comes from the prompt's pass.
double decode_speed(const model::Model& model, const BenchOptions& o, const routing::Router* router) {
  using Clock = std::chrono::steady_clock;
  serving::GenerateOptions options;
  options.max_new_tokens = o.new_tokens + 1;
  Clock::time_point first, last;
  std::int64_t count = 0;
  const auto answers =
      serving::generate(model, {{"", random_ids(model, o.length, 0)}}, options, router, [&](std::size_t, std::int32_t) {
        (count++ == 0 ? first : last) = Clock::now();
        return true;
      });
  answers[0].checked();
  return static_cast<double>(count - 1) / std::chrono::duration<double>(last - first).count();
}

}  // namespace

json bench_prefill(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const Rows rows{random_ids(model, o.length, 0)};
  const double seconds = median_seconds([&] { forward(model, rows, nullptr); }, o.runs);
  const auto work = base_work(model);
  const double peak = gemm_peak(model.dtype(), model.config().hidden, 2 * model.config().feed_forward);
  return {{"length", o.length},
          {"seconds", seconds},
          {"tokens_per_second", static_cast<double>(o.length) / seconds},
          {"share_of_gemm_peak", (work.sites * static_cast<double>(o.length) + work.head) / seconds / peak}};
}

json bench_decode(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  std::vector<double> speeds;
  decode_speed(model, o, nullptr);
  for (std::int64_t run = 0; run < o.runs; ++run) speeds.push_back(decode_speed(model, o, nullptr));
  const double speed = median(speeds);
  return {{"length", o.length},
          {"new", o.new_tokens},
          {"tokens_per_second", speed},
          {"share_of_read_bandwidth", speed * weight_bytes(model) / read_bandwidth()}};
}

json bench_decode_arrow(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const auto router = arrow_router(model, o);
  decode_speed(model, o, &router);
  std::vector<double> speeds, ratios;
  for (std::int64_t run = 0; run < o.runs; ++run) {
    const double base = decode_speed(model, o, nullptr);
    speeds.push_back(decode_speed(model, o, &router));
    ratios.push_back(base / speeds.back());
  }
  return {{"experts", o.experts}, {"tokens_per_second", median(speeds)}, {"ratio", median(ratios)}};
}

json bench_arrow(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const Rows rows{random_ids(model, o.length, 0)};
  const auto router = arrow_router(model, o);
  return routed_figures(compare([&] { forward(model, rows, nullptr); }, [&] { forward(model, rows, &router); }, o.runs),
                        o, o.length);
}

namespace {

/// Row i under expert i.
class RowPerExpert : public routing::RequestRouter {
 public:
  explicit RowPerExpert(std::shared_ptr<const adapter::Bank> bank)
      : RequestRouter(std::move(bank), ops::Combine::outputs) {}
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<routing::Request>& requests) const override {
    std::vector<std::vector<ops::ExpertWeight>> pairs;
    for (std::size_t i = 0; i < requests.size(); ++i) pairs.push_back({{static_cast<std::int64_t>(i), 1.0f}});
    return pairs;
  }
};

}  // namespace

json bench_mixed(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const Rows rows(static_cast<std::size_t>(o.experts),
                  random_ids(model, std::max<std::int64_t>(1, o.length / o.experts), 0));
  const RowPerExpert router(random_bank(model, o));
  return routed_figures(compare([&] { forward(model, rows, nullptr); }, [&] { forward(model, rows, &router); }, o.runs),
                        o, o.length);
}

}  // namespace quiver::bench
