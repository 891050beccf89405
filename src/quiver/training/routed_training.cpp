// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/routed_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/data/batching.h"
#include "quiver/training/adamw.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/step.h"

namespace quiver::training {
namespace {

using Clock = std::chrono::steady_clock;

class Session {
 public:
  Session(const RoutedTraining& training, std::vector<ParameterGroup>& groups, const std::vector<RoutedRow>& train,
          const std::vector<RoutedRow>& validation, const StartLabels& start, const ExtraLoss& extra)
      : t_(training), groups_(groups), train_(train), validation_(validation), start_(start), extra_(extra) {
    QUIVER_CHECK(!train.empty(), usage, t_.title, "no training rows");
    for (auto& group : groups_) {
      QUIVER_CHECK(group.values.requires_grad() && group.values.is_leaf(), mismatch, t_.title,
                   "'{}' is not a leaf that requires a gradient", group.name);
      group.values.mutable_grad() = at::zeros_like(group.values);
      optimizers_.emplace_back(group.values.detach());
    }
    const auto rows = static_cast<std::int64_t>(train.size());
    steps_per_epoch_ = (rows + t_.options.batch_rows - 1) / t_.options.batch_rows;
    total_ = steps_per_epoch_ * t_.options.epochs;
    if (t_.options.max_steps > 0) total_ = t_.options.max_steps;
  }

  RoutedResult run() {
    result_.first_validation = validate();
    keep_best(result_.first_validation);
    double sum = 0.0;
    std::int64_t counted = 0;
    while (result_.steps < total_) {
      const double loss = step();
      QUIVER_CHECK(std::isfinite(loss), mismatch, t_.title, "the loss is {} at step {}; lower the learning rate", loss,
                   result_.steps);
      sum += loss;
      ++counted;
      const auto every = t_.options.validate_every > 0 ? t_.options.validate_every : steps_per_epoch_;
      if (result_.steps % every != 0 && result_.steps < total_) continue;
      result_.train_loss = sum / static_cast<double>(counted);
      sum = 0.0;
      counted = 0;
      keep_best(validate());
    }
    t_.progress.finish();
    if (!validation_.empty()) restore_best();
    return result_;
  }

 private:
  std::vector<std::size_t> next_batch() {
    const auto epoch = result_.steps / steps_per_epoch_;
    if (epoch != epoch_) {
      std::vector<std::size_t> lengths;
      for (const auto& r : train_) lengths.push_back(r.row.ids.size());
      data::BatchOptions options;
      options.batch_rows = static_cast<std::size_t>(t_.options.batch_rows);
      options.length_window_batches = static_cast<std::size_t>(t_.options.length_window);
      options.shuffle = t_.options.shuffle;
      options.seed = derive_seed(t_.options.seed, 1);
      batches_ = data::epoch_batches(train_.size(), lengths, options, static_cast<std::uint64_t>(epoch));
      epoch_ = epoch;
    }
    return batches_.at(static_cast<std::size_t>(result_.steps % steps_per_epoch_));
  }

  /// Sum of the rows' weighted losses in portions; with gradients where the mode is on.
  double losses(const std::vector<const RoutedRow*>& rows, double token_weight) {
    std::vector<WeightedRow> weighted;
    for (const auto* r : rows) weighted.push_back({&r->row, token_weight * r->row.weight});
    double sum = 0.0;
    std::size_t first = 0;
    for (const auto& portion : portions(weighted, t_.options.micro_tokens)) {
      std::vector<std::int64_t> labels;
      for (std::size_t i = 0; i < portion.size(); ++i) labels.push_back(rows[first + i]->label);
      first += portion.size();
      const auto bind = start_(labels);
      const auto kept = t_.options.recompute ? model::Activations::recompute : model::Activations::keep;
      const auto pass = model::answer_pass(t_.model, answer_rows(portion), bind, kept);
      auto loss = weighted_loss(t_.model, pass.hidden, portion);
      sum += loss.item<double>();
      if (!c10::GradMode::is_enabled()) continue;
      if (extra_) {
        if (const auto more = extra_(pass.hidden); more.defined())
          loss = loss + more * (static_cast<double>(portion.size()) / static_cast<double>(rows.size()));
      }
      QUIVER_CHECK(loss.requires_grad(), mismatch, t_.title, "nothing in the batch depends on what is trained");
      loss.backward();
    }
    return sum;
  }

  double step() {
    const auto began = Clock::now();
    std::vector<const RoutedRow*> rows;
    double targets = 0.0;
    std::int64_t tokens = 0;
    for (const auto r : next_batch()) {
      rows.push_back(&train_[r]);
      targets += train_[r].row.weight * static_cast<double>(target_tokens(train_[r].row));
      tokens += static_cast<std::int64_t>(train_[r].row.ids.size());
    }
    for (auto& group : groups_) group.values.mutable_grad().zero_();
    const double loss = losses(rows, targets > 0 ? 1.0 / targets : 0.0);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      auto rated = t_.options;
      rated.learning_rate = groups_[g].learning_rate;
      const double rate = learning_rate_at(rated, result_.steps, total_);
      const c10::AutoGradMode no_gradient(false);
      optimizers_[g].step(groups_[g].values, groups_[g].values.mutable_grad(), rate, result_.steps, t_.options);
    }
    ++result_.steps;
    result_.tokens += tokens;
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    result_.seconds += seconds;
    t_.progress.update(t_.title, static_cast<std::uint64_t>(result_.steps), static_cast<std::uint64_t>(total_),
                       fmt::format("loss {:.3f} {:.0f} tokens/s", loss, static_cast<double>(tokens) / seconds));
    return loss;
  }

  double validate() {
    if (validation_.empty()) return std::numeric_limits<double>::quiet_NaN();
    const c10::AutoGradMode no_gradient(false);
    std::vector<const RoutedRow*> rows;
    double targets = 0.0;
    for (const auto& r : validation_) {
      rows.push_back(&r);
      targets += r.row.weight * static_cast<double>(target_tokens(r.row));
    }
    return losses(rows, 1.0 / targets);
  }

  void keep_best(double loss) {
    if (!best_.empty() && !(loss < result_.validation_loss)) return;
    result_.validation_loss = loss;
    result_.best_step = result_.steps;
    best_.clear();
    for (const auto& group : groups_) best_.push_back(group.values.detach().clone());
  }

  void restore_best() {
    const c10::AutoGradMode no_gradient(false);
    for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].values.copy_(best_[g]);
  }

  const RoutedTraining& t_;
  std::vector<ParameterGroup>& groups_;
  const std::vector<RoutedRow>& train_;
  const std::vector<RoutedRow>& validation_;
  const StartLabels& start_;
  const ExtraLoss& extra_;
  std::vector<AdamW> optimizers_;
  std::int64_t steps_per_epoch_ = 0, total_ = 0, epoch_ = -1;
  std::vector<std::vector<std::size_t>> batches_;
  std::vector<at::Tensor> best_;
  RoutedResult result_;
};

}  // namespace

nlohmann::json to_json(const RoutedResult& r) {
  const auto number = [](double v) { return std::isnan(v) ? nlohmann::json() : nlohmann::json(v); };
  return {{"steps", r.steps},
          {"best_step", r.best_step},
          {"tokens", r.tokens},
          {"seconds", r.seconds},
          {"train_loss", number(r.train_loss)},
          {"first_validation_loss", number(r.first_validation)},
          {"validation_loss", number(r.validation_loss)}};
}

RoutedResult train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                          const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                          const StartLabels& start, const ExtraLoss& extra) {
  check(training.options);
  return Session(training, groups, train, validation, start, extra).run();
}

RoutedResult train_routed(const RoutedTraining& training, std::vector<ParameterGroup>& groups,
                          const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                          const BindLabels& bind, const ExtraLoss& extra) {
  const StartLabels start = [&bind](const std::vector<std::int64_t>& labels) {
    return model::BindExperts([&bind, labels](const model::PackedBatch& batch, const std::vector<std::size_t>&) {
      return bind(batch, labels);
    });
  };
  return train_routed(training, groups, train, validation, start, extra);
}

}  // namespace quiver::training
