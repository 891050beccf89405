// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/trainer.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/sha256.h"
#include "quiver/routing/request/signature.h"
#include "quiver/training/checkpoint.h"
#include "quiver/training/metrics_file.h"
#include "quiver/training/step.h"

namespace quiver::training {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A job with what belongs to its run on disk.
struct Run {
  ExpertJob job;
  std::string key;
  fs::path folder;
  std::unique_ptr<MetricsFile> metrics;
  Clock::time_point checkpointed = Clock::now();
};

class Session {
 public:
  Session(const TrainRequest& request, std::vector<ExpertData> experts) : request_(request) {
    for (auto& data : experts) {
      const auto key = run_key(data);
      if (auto done = already_trained(data, key)) {
        results_.push_back(*done);
      } else {
        start(std::move(data), key);
      }
    }
    auto bank = std::make_shared<adapter::Bank>(request_.model);
    for (const auto& run : runs_) bank->add(run->job.data().name, run->job.adapter());
    bank_ = std::move(bank);
  }

  std::vector<TrainedExpert> train() {
    for (std::size_t i = 0; i < runs_.size(); ++i) first_validation(i);
    while (!active().empty()) {
      const auto now = active();
      step(now);
      for (const auto i : now) after_step(i);
    }
    request_.progress.finish();
    std::sort(results_.begin(), results_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return results_;
  }

 private:
  std::string run_key(const ExpertData& data) const {
    const auto start = request_.start ? " from " + adapter::identity(*request_.start) : std::string();
    return sha256_hex(to_json(request_.options).dump() + data_key(data) + request_.library.fingerprint() + start +
                      std::to_string(static_cast<int>(request_.model.dtype())));
  }

  std::optional<TrainedExpert> already_trained(const ExpertData& data, const std::string& key) const {
    if (!request_.library.contains(data.name)) return std::nullopt;
    const auto info = request_.library.info(data.name);
    const bool same = info.training.is_object() && info.training.value("run_key", "") == key;
    QUIVER_CHECK(same || request_.replace, usage, "expert " + data.name,
                 "the library has one of that name, trained otherwise; choose another --name, or --replace it");
    if (!same) return std::nullopt;
    const auto figure = [&](const char* name) {
      const auto value = info.training.value(name, json());
      return value.is_number() ? value.get<double>() : std::nan("");
    };
    return TrainedExpert{data.name,
                         info.training.value("steps", std::int64_t{0}),
                         info.training.value("tokens", std::int64_t{0}),
                         figure("tokens_per_second"),
                         figure("train_loss"),
                         figure("validation_loss"),
                         request_.library.expert_folder(data.name),
                         true};
  }

  void start(ExpertData data, const std::string& key) {
    const auto folder = request_.library.run_folder(data.name);
    const auto own = request_.options.lora.share_a ? std::string("shared") : data.name;
    const auto seed =
        derive_seed(request_.options.seed, std::stoull(sha256_hex("init " + own).substr(0, 15), nullptr, 16));
    const auto fresh = request_.start
                           ? *request_.start
                           : adapter::make_adapter(request_.model, request_.options.lora, request_.options.kind, seed);
    auto run = std::unique_ptr<Run>(new Run{ExpertJob(std::move(data), fresh, request_.options), key, folder, nullptr});
    read_checkpoint(folder, key, run->job);
    run->metrics = std::make_unique<MetricsFile>(folder, run->job.progress.step);
    runs_.push_back(std::move(run));
  }

  std::vector<std::size_t> active() const {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (!runs_[i]->job.finished()) out.push_back(i);
    }
    return out;
  }

  /// One step of every active expert, all in one pass.
  void step(const std::vector<std::size_t>& now) {
    const auto began = Clock::now();
    StepRows rows;
    std::vector<std::int64_t> tokens(runs_.size(), 0);
    for (const auto i : now) tokens[i] = rows.take(static_cast<std::int64_t>(i), runs_[i]->job);
    const auto losses = accumulate_gradients(request_.model, bank_, rows, request_.options);
    const double seconds = seconds_since(began), all = static_cast<double>(rows.tokens);
    for (const auto i : now) update(i, losses[i], tokens[i], seconds * static_cast<double>(tokens[i]) / all);
    show(now, losses, all / seconds_since(began));
  }

  void update(std::size_t i, double loss, std::int64_t tokens, double seconds) {
    auto& run = *runs_[i];
    auto& job = run.job;
    QUIVER_CHECK(std::isfinite(loss), mismatch, "expert " + job.data().name,
                 "the loss is {} at step {}; lower --learning-rate", loss, job.progress.step + 1);
    const double rate = learning_rate_at(request_.options, job.progress.step, job.total_steps());
    const double norm = job.optimizer.step(job.parameters, job.gradient, rate, job.progress.step, request_.options);
    auto& p = job.progress;
    ++p.step;
    p.tokens += tokens;
    p.seconds += seconds;
    p.loss_sum += loss;
    ++p.loss_steps;
    run.metrics->write({{"step", p.step},
                        {"epoch", static_cast<double>(p.step) / static_cast<double>(job.steps_per_epoch())},
                        {"loss", loss},
                        {"learning_rate", rate},
                        {"gradient_norm", norm},
                        {"tokens", p.tokens},
                        {"tokens_per_second", static_cast<double>(tokens) / seconds}});
  }

  void show(const std::vector<std::size_t>& now, const std::vector<double>& losses, double tokens_per_second) {
    std::int64_t done = 0, total = 0;
    double loss = 0.0;
    for (const auto& run : runs_) {
      done += run->job.finished() ? run->job.total_steps() : run->job.progress.step;
      total += run->job.total_steps();
    }
    for (const auto i : now) loss += losses[i] / static_cast<double>(now.size());
    const auto what =
        runs_.size() == 1 ? "train " + runs_[0]->job.data().name : fmt::format("train {} experts", runs_.size());
    request_.progress.update(what, static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total),
                             fmt::format("loss {:.3f} {:.0f} tokens/s", loss, tokens_per_second));
  }

  double validation_loss(std::size_t i) const {
    return mean_loss(request_.model, bank_, static_cast<std::int64_t>(i), runs_[i]->job.data().validation);
  }

  void first_validation(std::size_t i) {
    auto& job = runs_[i]->job;
    if (job.data().validation.empty() || job.progress.step > 0) return;
    job.progress.first_validation = job.progress.best_validation = validation_loss(i);
    runs_[i]->metrics->write({{"step", 0}, {"validation_loss", job.progress.first_validation}});
  }

  void after_step(std::size_t i) {
    auto& run = *runs_[i];
    auto& job = run.job;
    const auto every = request_.options.validate_every > 0 ? request_.options.validate_every : job.steps_per_epoch();
    const bool last = job.progress.step >= job.total_steps();
    if (last || job.progress.step % every == 0) validate(i);
    if (job.finished()) {
      finish(i);
    } else if (seconds_since(run.checkpointed) >= request_.options.checkpoint_seconds) {
      write_checkpoint(run.folder, run.key, job);
      run.checkpointed = Clock::now();
    }
  }

  void validate(std::size_t i) {
    auto& job = runs_[i]->job;
    auto& p = job.progress;
    p.last_train_loss = p.loss_sum / static_cast<double>(std::max<std::int64_t>(1, p.loss_steps));
    p.loss_sum = 0.0;
    p.loss_steps = 0;
    if (job.data().validation.empty()) return;
    const double loss = validation_loss(i);
    runs_[i]->metrics->write({{"step", p.step}, {"validation_loss", loss}});
    if (std::isnan(p.best_validation) || loss < p.best_validation) {
      p.best_validation = loss;
      p.best_step = p.step;
      p.validations_since_best = 0;
      job.keep_as_best();
    } else {
      ++p.validations_since_best;
      p.stopped_early = request_.options.patience > 0 && p.validations_since_best >= request_.options.patience;
    }
  }

  void finish(std::size_t i) {
    auto& run = *runs_[i];
    const auto& job = run.job;
    const auto& p = job.progress;
    const double speed = p.seconds > 0 ? static_cast<double>(p.tokens) / p.seconds : 0.0;
    library::ExpertInfo info;
    info.name = job.data().name;
    info.tasks = job.data().tasks;
    info.base_fingerprint = request_.model.fingerprint();
    const auto number = [](double v) { return std::isnan(v) ? json() : json(v); };
    info.training = {{"run_key", run.key},
                     {"options", to_json(request_.options)},
                     {"rows", job.data().train.size()},
                     {"steps", p.step},
                     {"best_step", p.best_step},
                     {"tokens", p.tokens},
                     {"seconds", p.seconds},
                     {"tokens_per_second", speed},
                     {"train_loss", number(p.last_train_loss)},
                     {"first_validation_loss", number(p.first_validation)},
                     {"validation_loss", number(p.best_validation)},
                     {"stopped_early", p.stopped_early}};
    const auto adapter = job.result();
    request_.library.save(info, adapter, request_.replace);
    write_signature(job.data(), adapter::identity(adapter));
    remove_checkpoint(run.folder);
    results_.push_back({info.name, p.step, p.tokens, speed, p.last_train_loss, p.best_validation,
                        request_.library.expert_folder(info.name), false});
  }

  /// What the router `auto` knows the expert by: some of its prompts, spread over all of its rows.
  void write_signature(const ExpertData& data, const std::string& identity) const {
    std::vector<std::vector<std::int32_t>> prompts;
    for (const auto i : routing::signature_rows(data.train.size(), routing::kSignatureRows)) {
      const auto& row = data.train[i];
      if (row.target_begin > 0) prompts.emplace_back(row.ids.begin(), row.ids.begin() + row.target_begin);
    }
    if (!prompts.empty())
      routing::write_signature(request_.library, data.name, identity, request_.model, prompts);
  }

  const TrainRequest& request_;
  std::vector<std::unique_ptr<Run>> runs_;
  std::shared_ptr<const adapter::Bank> bank_;
  std::vector<TrainedExpert> results_;
};

}  // namespace

double mean_loss(const model::Model& model, std::shared_ptr<const adapter::Bank> bank, std::int64_t expert,
                 const std::vector<data::TokenRow>& rows) {
  constexpr std::int64_t kPortion_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  std::vector<WeightedRow> weighted;
  double tokens = 0.0, sum = 0.0;
  for (const auto& row : rows) {
    weighted.push_back({&row, 1.0});
    tokens += static_cast<double>(target_tokens(row));
  }
  for (const auto& portion : portions(weighted, kPortion_tokens)) {
    const std::vector<TrainingRow> own(portion.size(), {expert, 0});
    const auto bind = expert < 0 ? model::BindExperts() : bind_training_rows(bank, own, 0.0);
    const auto pass = model::answer_pass(model, answer_rows(portion), bind);
    sum += weighted_loss(model, pass.hidden, portion).item<double>();
  }
  return sum / tokens;
}

std::vector<TrainedExpert> train_experts(const TrainRequest& request, std::vector<ExpertData> experts) {
  check(request.options);
  return Session(request, std::move(experts)).train();
}

}  // namespace quiver::training
