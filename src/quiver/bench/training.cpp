// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/bench/support.h"
#include "quiver/model/load.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/loop.h"

namespace quiver::bench {
namespace {

/// Rows of the task's training split, or of random ids, in the order the steps take them.
std::vector<data::TokenRow> training_rows(const BenchOptions& o, const model::Model& model, std::int64_t count) {
  std::vector<data::TokenRow> rows;
  if (o.task.empty()) {
    for (std::int64_t i = 0; i < count; ++i)
      rows.push_back({random_ids(model, o.length, static_cast<std::uint64_t>(i)), 1, 1.0, 0});
    return rows;
  }
  const auto text = text::load_tokenizer(model::resolve_model(o.model.model));
  const auto task = data::read_task(o.task);
  const auto own = task.rows(data::Split::train);
  QUIVER_CHECK(!own.empty(), usage, "--task " + o.task, "no rows of split 'train'");
  const auto encode = [&](std::string_view t) { return text.tokenizer->encode(t); };
  for (std::int64_t i = 0; i < count; ++i) {
    rows.push_back(data::join_example(task.examples[own[static_cast<std::size_t>(i) % own.size()]], encode,
                                      text.tokenizer->eos_ids().at(0)));
  }
  return rows;
}

/// Experts in training, each with its own rows.
class Training {
 public:
  Training(const BenchOptions& o, const model::Model& model, std::int64_t experts, std::int64_t rows_each,
           std::int64_t rows_in_all)
      : objective_(model, set_up(o, rows_each)) {
    for (std::int64_t e = 0; e < experts; ++e) {
      objective_.add({"expert" + std::to_string(e), {}, training_rows(o, model, rows_in_all), {}},
                     adapter::make_lora(model, options_.lora, static_cast<std::uint64_t>(e)));
    }
    loop_ = std::make_unique<training::Loop>(objective_, options_, progress_, "bench");
  }

  /// One step of these experts in one pass; returns its tokens.
  std::int64_t step(const std::vector<std::size_t>& experts) {
    for (const auto e : experts) {
      for (const auto& row : objective_.lanes()[e].rows(steps_)) targets_ += training::target_tokens(*row.row);
    }
    ++steps_;
    return loop_->step(experts);
  }
  std::int64_t targets() const { return targets_; }

 private:
  const training::TrainOptions& set_up(const BenchOptions& o, std::int64_t rows_each) {
    options_.lora.rank = o.rank;
    options_.batch_rows = rows_each;
    options_.shuffle = false;
    options_.clip = 0;
    options_.learning_rate = 1e-4;
    options_.schedule = training::Schedule::constant;
    options_.warmup = 0.0;
    return options_;
  }

  training::TrainOptions options_;
  SilentProgress progress_;
  training::ExpertObjective objective_;
  std::unique_ptr<training::Loop> loop_;
  std::int64_t targets_ = 0, steps_ = 0;
};

}  // namespace

nlohmann::json bench_train(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const std::int64_t warm_up = 2, steps = 2 * o.runs;
  Training training(o, model, 1, o.batch, o.task.empty() ? o.batch : (warm_up + steps) * o.batch);
  for (std::int64_t i = 0; i < warm_up; ++i) training.step({0});
  const auto targets_before = training.targets();
  std::vector<double> speeds;
  double seconds = 0.0;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < steps; ++i) {
    std::int64_t own = 0;
    const double took = seconds_of([&] { own = training.step({0}); });
    speeds.push_back(static_cast<double>(own) / took);
    seconds += took;
    tokens += own;
  }
  // Forward and the inputs' gradients: no base weight has a gradient of its own.
  const auto work = base_work(model);
  const double products = 2.0 * (work.sites * static_cast<double>(tokens) +
                                 work.head * static_cast<double>(training.targets() - targets_before));
  const double peak = gemm_peak(model.dtype(), model.config().hidden, 2 * model.config().feed_forward);
  return {{"rank", o.rank},
          {"batch", o.batch},
          {"tokens_per_second", o.task.empty() ? median(speeds) : static_cast<double>(tokens) / seconds},
          {"seconds_per_step", seconds / static_cast<double>(steps)},
          {"share_of_gemm_peak", products / seconds / peak}};
}

/// `experts` experts, `batch` rows each: all in one pass against one after another.
nlohmann::json bench_together(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  Training training(o, model, o.experts, o.batch, o.batch);
  std::vector<std::size_t> all(static_cast<std::size_t>(o.experts));
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::int64_t tokens = 0;
  const auto result = compare([&] { tokens = training.step(all); },
                              [&] {
                                for (const auto e : all) training.step({e});
                              },
                              o.runs);
  return {{"experts", o.experts},           {"batch", o.batch},
          {"seconds", result.base_seconds}, {"one_after_another_seconds", result.seconds},
          {"ratio", result.ratio},          {"tokens_per_second", static_cast<double>(tokens) / result.base_seconds}};
}

}  // namespace quiver::bench
