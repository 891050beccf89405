// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/bench_cases.h"

#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <unistd.h>

#include <chrono>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/model/generate.h"
#include "quiver/model/load.h"
#include "quiver/routing/arrow_router.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/prototypes.h"
#include "quiver/training/expert_job.h"
#include "quiver/training/step.h"

namespace quiver::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Median of `runs` after one warm-up.
double median_seconds(const std::function<void()>& work, std::int64_t runs) {
  work();
  std::vector<double> times;
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, runs); ++i) times.push_back(seconds_of(work));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::vector<std::int32_t> random_ids(const model::LanguageModel& model, std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(model.config().vocabulary))));
  return ids;
}

/// An adapter on all sites, A and B normal with deviation 0.02.
adapter::Adapter random_adapter(const model::LanguageModel& model, std::int64_t rank) {
  adapter::LoraOptions options;
  options.rank = rank;
  options.alpha = 2.0 * static_cast<double>(rank);
  auto adapter = adapter::make_lora(model, options, 0);
  for (auto& [site, f] : adapter.sites) {
    f.a = at::randn(f.a.sizes(), at::kFloat).mul_(0.02);
    f.b = at::randn(f.b.sizes(), at::kFloat).mul_(0.02);
  }
  return adapter;
}

std::shared_ptr<adapter::Bank> random_bank(const model::LanguageModel& model, const BenchOptions& o) {
  auto bank = std::make_shared<adapter::Bank>(model);
  for (std::int64_t e = 0; e < o.experts; ++e) bank->add("expert" + std::to_string(e), random_adapter(model, o.rank));
  return bank;
}

/// Rows of the task's training split, or of random ids, in the order the steps take them.
std::vector<data::TokenRow> training_rows(const BenchOptions& o, const model::LanguageModel& model,
                                          std::int64_t steps) {
  std::vector<data::TokenRow> rows;
  if (o.task.empty()) {
    for (std::int64_t i = 0; i < o.batch; ++i)
      rows.push_back({random_ids(model, o.length, static_cast<std::uint64_t>(i)), 1, 1.0, 0});
    return rows;
  }
  const auto text = text::load_tokenizer(model::resolve_model(o.model.model));
  const auto task = data::read_task(o.task);
  const auto own = task.rows(data::Split::train);
  QUIVER_CHECK(!own.empty(), usage, "--task " + o.task, "no rows of split 'train'");
  const auto encode = [&](std::string_view t) { return text.tokenizer->encode(t); };
  for (std::int64_t i = 0; i < steps * o.batch; ++i) {
    rows.push_back(data::join_example(task.examples[own[static_cast<std::size_t>(i) % own.size()]], encode,
                                      text.tokenizer->eos_ids().at(0)));
  }
  return rows;
}

json bench_train(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  training::TrainOptions options;
  options.lora.rank = o.rank;
  options.batch_rows = o.batch;
  options.shuffle = false;
  options.clip = 0;
  const std::int64_t steps = 2 + 2 * o.runs;
  training::ExpertJob job({"bench", {}, training_rows(o, model, steps), {}}, adapter::make_lora(model, options.lora, 0),
                          options);
  auto bank = std::make_shared<adapter::Bank>(model);
  bank->add("bench", job.adapter());
  std::int64_t tokens = 0;
  const auto step = [&] {
    training::StepRows rows;
    tokens = rows.take(0, job);
    training::accumulate_gradients(model, bank, rows, options);
    job.optimizer.step(job.parameters, job.gradient, 1e-4, job.progress.step++, options);
  };
  double seconds = 0.0;
  std::int64_t all = 0;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double own = seconds_of(step);
    if (i >= 2) seconds += own, all += tokens;
  }
  return {{"rank", o.rank},
          {"batch", o.batch},
          {"tokens_per_second", static_cast<double>(all) / seconds},
          {"seconds_per_step", seconds / static_cast<double>(steps - 2)}};
}

/// Seconds of a forward pass over `rows` with logits at their last positions, under `router` (null: base).
double forward_seconds(const model::LanguageModel& model, const std::vector<std::vector<std::int32_t>>& rows,
                       const routing::Router* router, std::int64_t runs) {
  const c10::AutoGradMode no_gradient(false);
  return median_seconds(
      [&] {
        std::vector<model::RowInput> inputs;
        for (const auto& ids : rows) inputs.push_back({ids, nullptr, true});
        const auto batch = model::pack(inputs);
        const auto experts = router ? router->bind(batch, std::vector<std::string>(rows.size())) : nullptr;
        model.logits(model.forward(batch, experts.get()).narrow(0, batch.tokens() - 1, 1));
      },
      runs);
}

json bench_prefill(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const double seconds = forward_seconds(model, {random_ids(model, o.length, 0)}, nullptr, o.runs);
  return {{"length", o.length}, {"seconds", seconds}, {"tokens_per_second", static_cast<double>(o.length) / seconds}};
}

json bench_decode(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const auto ids = random_ids(model, o.length, 0);
  model::GenerateOptions options;
  options.max_new_tokens = o.new_tokens + 1;
  // The first token comes from the prompt's pass; those after it are timed by themselves.
  std::vector<double> speeds;
  for (std::int64_t run = 0; run < o.runs + 1; ++run) {
    Clock::time_point first, last;
    std::int64_t count = 0;
    model::generate(model, {ids}, options, nullptr, [&](std::size_t, std::int32_t) {
      (count++ == 0 ? first : last) = Clock::now();
      return true;
    });
    if (run) speeds.push_back(static_cast<double>(count - 1) / std::chrono::duration<double>(last - first).count());
  }
  std::sort(speeds.begin(), speeds.end());
  return {{"length", o.length}, {"new", o.new_tokens}, {"tokens_per_second", speeds[speeds.size() / 2]}};
}

json with_ratio(double base, double seconds, std::int64_t tokens) {
  return {{"base_seconds", base},
          {"seconds", seconds},
          {"ratio", seconds / base},
          {"tokens_per_second", static_cast<double>(tokens) / seconds}};
}

json bench_arrow(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const std::vector<std::vector<std::int32_t>> rows{random_ids(model, o.length, 0)};
  SilentProgress silent;
  const auto bank = random_bank(model, o);
  const double base = forward_seconds(model, rows, nullptr, o.runs);
  const routing::ArrowRouter router(bank, routing::compute_prototypes(*bank, nullptr, silent),
                                    {std::min<std::int64_t>(3, o.experts)});
  auto out = with_ratio(base, forward_seconds(model, rows, &router, o.runs), o.length);
  out["experts"] = o.experts;
  return out;
}

/// Row i under expert i.
class RowPerExpert : public routing::Router {
 public:
  explicit RowPerExpert(std::shared_ptr<const adapter::Bank> bank) : bank_(std::move(bank)) {}
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                            const std::vector<std::string>&) const override {
    std::vector<std::vector<ops::ExpertWeight>> pairs;
    for (std::size_t i = 0; i < batch.rows.size(); ++i) pairs.push_back({{static_cast<std::int64_t>(i), 1.0f}});
    return routing::bind_rows(bank_, batch, pairs);
  }

 private:
  std::shared_ptr<const adapter::Bank> bank_;
};

json bench_mixed(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const std::vector<std::vector<std::int32_t>> rows(
      static_cast<std::size_t>(o.experts), random_ids(model, std::max<std::int64_t>(1, o.length / o.experts), 0));
  const double base = forward_seconds(model, rows, nullptr, o.runs);
  const RowPerExpert router(random_bank(model, o));
  auto out = with_ratio(base, forward_seconds(model, rows, &router, o.runs), o.length);
  out["experts"] = o.experts;
  return out;
}

json bench_load(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const auto folder = fs::temp_directory_path() / ("quiver-bench-" + std::to_string(getpid()));
  std::vector<fs::path> paths;
  for (std::int64_t e = 0; e < o.experts; ++e) {
    paths.push_back(folder / ("expert" + std::to_string(e)));
    fs::create_directories(paths.back());
    adapter::write_peft(paths.back(), random_adapter(model, o.rank), o.model.model);
  }
  const double seconds = seconds_of([&] {
    adapter::Bank bank(model);
    for (const auto& path : paths) bank.add(path.filename().string(), adapter::read_peft(path));
  });
  fs::remove_all(folder);
  return {{"experts", o.experts}, {"rank", o.rank}, {"seconds", seconds}};
}

}  // namespace

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases{{"train", bench_train},   {"prefill", bench_prefill},
                                            {"decode", bench_decode}, {"arrow", bench_arrow},
                                            {"mixed", bench_mixed},   {"load", bench_load}};
  return cases;
}

}  // namespace quiver::cli
