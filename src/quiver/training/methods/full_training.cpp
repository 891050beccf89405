// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/full_training.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/model/answer_pass.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/training/adamw.h"
#include "quiver/training/metrics_file.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/step.h"
#include "quiver/training/trainer.h"

namespace quiver::training {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Run {
 public:
  Run(model::TrainableModel& model, const FullTraining& run, Progress& progress)
      : model_(model),
        run_(run),
        progress_(progress),
        key_(sha256_hex(to_json(run.options).dump() + run.key + (run.relative_steps ? " relative" : ""))),
        optimizer_(model.parameters),
        lock_(run.folder / ".lock") {
    read_checkpoint();
    metrics_ = std::make_unique<MetricsFile>(run.folder, result_.steps);
  }

  FullResult train(const std::function<std::vector<data::TokenRow>(std::int64_t)>& rows_of_step,
                   const std::vector<data::TokenRow>& validation) {
    if (result_.steps == 0) result_.first_validation = result_.validation_loss = validate(validation);
    auto checkpointed = Clock::now();
    const auto total = run_.options.max_steps;
    const auto every = run_.options.validate_every > 0 ? run_.options.validate_every : total;
    while (result_.steps < total) {
      step(rows_of_step(result_.steps));
      if (result_.steps % every == 0 || result_.steps == total) consider(validate(validation));
      if (seconds_since(checkpointed) < run_.options.checkpoint_seconds) continue;
      write_checkpoint();
      checkpointed = Clock::now();
    }
    progress_.finish();
    if (run_.keep_best && best_.defined()) model_.parameters.copy_(best_);
    fs::remove(run_.folder / "state.safetensors");
    return result_;
  }

 private:
  void step(const std::vector<data::TokenRow>& rows) {
    const auto began = Clock::now();
    std::vector<WeightedRow> weighted;
    double targets = 0.0;
    std::int64_t tokens = 0;
    for (const auto& row : rows) {
      targets += row.weight * static_cast<double>(target_tokens(row));
      tokens += static_cast<std::int64_t>(row.ids.size());
    }
    for (const auto& row : rows) weighted.push_back({&row, row.weight / targets});
    model_.gradient.zero_();
    double loss = 0.0;
    {
      const auto network = model_.model();
      for (const auto& portion : portions(weighted, run_.options.micro_tokens)) {
        const auto pass = model::answer_pass(network, answer_rows(portion), nullptr);
        const auto own = weighted_loss(network, pass.hidden, portion);
        loss += own.item<double>();
        // Portions share the fused weights' graph.
        own.backward({}, true);
      }
    }
    QUIVER_CHECK(std::isfinite(loss), mismatch, run_.title, "the loss is {} at step {}; lower the learning rate", loss,
                 result_.steps);
    const double rate = learning_rate_at(run_.options, result_.steps, run_.options.max_steps);
    const c10::AutoGradMode no_gradient(false);
    const auto before = run_.relative_steps ? model_.parameters.clone() : at::Tensor();
    const double norm = optimizer_.step(model_.parameters, model_.gradient, rate, result_.steps, run_.options);
    if (run_.relative_steps) scale_steps(before);
    ++result_.steps;
    result_.tokens += tokens;
    loss_sum_ += loss;
    ++loss_steps_;
    const double seconds = seconds_since(began);
    result_.seconds += seconds;
    metrics_->write({{"step", result_.steps},
                     {"loss", loss},
                     {"learning_rate", rate},
                     {"gradient_norm", norm},
                     {"tokens", result_.tokens}});
    progress_.update(run_.title, static_cast<std::uint64_t>(result_.steps),
                     static_cast<std::uint64_t>(run_.options.max_steps),
                     fmt::format("loss {:.3f} {:.0f} tokens/s", loss, static_cast<double>(tokens) / seconds));
  }

  /// What AdamW changed, in proportion to each tensor.
  void scale_steps(const at::Tensor& before) {
    constexpr double kLeast = 1e-3;  // Shazeer and Stern, 2018
    std::int64_t begin = 0;
    for (const auto& [name, weight] : model_.weights()) {
      const auto old = before.narrow(0, begin, weight.numel());
      auto now = model_.parameters.narrow(0, begin, weight.numel());
      const auto size = old.square().mean().sqrt().item<double>();
      now.sub_(old).mul_(std::max(size, kLeast)).add_(old);
      begin += weight.numel();
    }
  }

  double validate(const std::vector<data::TokenRow>& rows) const {
    if (rows.empty()) return std::numeric_limits<double>::quiet_NaN();
    const c10::AutoGradMode no_gradient(false);
    const double loss = mean_loss(model_.model(), nullptr, -1, rows);
    metrics_->write({{"step", result_.steps}, {"validation_loss", loss}});
    return loss;
  }

  void consider(double loss) {
    result_.train_loss = loss_sum_ / static_cast<double>(std::max<std::int64_t>(1, loss_steps_));
    loss_sum_ = 0.0;
    loss_steps_ = 0;
    if (std::isnan(loss) || !(std::isnan(result_.validation_loss) || loss <= result_.validation_loss)) return;
    result_.validation_loss = loss;
    result_.best_step = result_.steps;
    if (run_.keep_best) best_ = model_.parameters.clone();
  }

  fs::path state() const { return run_.folder / "state.safetensors"; }

  void write_checkpoint() const {
    const auto number = [](double v) { return std::isnan(v) ? json() : json(v); };
    const json info{{"key", key_},
                    {"steps", result_.steps},
                    {"best_step", result_.best_step},
                    {"tokens", result_.tokens},
                    {"seconds", result_.seconds},
                    {"first_validation", number(result_.first_validation)},
                    {"validation_loss", number(result_.validation_loss)}};
    std::map<std::string, at::Tensor> tensors{
        {"parameters", model_.parameters}, {"mean", optimizer_.mean}, {"variance", optimizer_.variance}};
    if (best_.defined()) tensors["best"] = best_;
    tensor_io::write_safetensors(state(), tensors, {{"state", info.dump()}});
  }

  void read_checkpoint() {
    if (!fs::exists(state())) return;
    const auto file = tensor_io::open_safetensors(state());
    const auto info = json::parse(tensor_io::safetensors_metadata(state())["state"], nullptr, false);
    QUIVER_CHECK(info.is_object() && info.value("key", "") == key_, mismatch, state().string(),
                 "it belongs to a run with other options or data; give another folder, or remove it");
    model_.parameters.copy_(file->load("parameters"));
    optimizer_.mean.copy_(file->load("mean"));
    optimizer_.variance.copy_(file->load("variance"));
    if (file->tensors().contains("best")) best_ = file->load("best").clone();
    const auto real = [&](const char* name) {
      return info.value(name, json()).is_number() ? info[name].get<double>() : std::nan("");
    };
    result_.steps = info.value("steps", std::int64_t{0});
    result_.best_step = info.value("best_step", std::int64_t{0});
    result_.tokens = info.value("tokens", std::int64_t{0});
    result_.seconds = real("seconds");
    result_.first_validation = real("first_validation");
    result_.validation_loss = real("validation_loss");
  }

  model::TrainableModel& model_;
  const FullTraining& run_;
  Progress& progress_;
  std::string key_;
  AdamW optimizer_;
  FileLock lock_;  ///< a second run in the folder waits for this one
  std::unique_ptr<MetricsFile> metrics_;
  FullResult result_;
  double loss_sum_ = 0.0;
  std::int64_t loss_steps_ = 0;
  at::Tensor best_;
};

}  // namespace

FullResult train_full(model::TrainableModel& model, const FullTraining& run,
                      const std::function<std::vector<data::TokenRow>(std::int64_t)>& rows_of_step,
                      const std::vector<data::TokenRow>& validation, Progress& progress) {
  check(run.options);
  QUIVER_CHECK(run.options.max_steps >= 1, usage, "--max-steps", "{}, expected 1 or more", run.options.max_steps);
  return Run(model, run, progress).train(rows_of_step, validation);
}

}  // namespace quiver::training
