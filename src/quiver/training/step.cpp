// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/step.h"

#include <ATen/TensorOperators.h>

#include "quiver/base/random.h"

namespace quiver::training {

std::int64_t target_tokens(const data::TokenRow& row) {
  return static_cast<std::int64_t>(row.ids.size()) - row.target_begin;
}

std::int64_t StepRows::take(std::int64_t expert, ExpertJob& job) {
  const auto& train = job.data().train;
  const auto batch = job.next_batch();
  double total = 0.0;
  for (const auto r : batch) total += train[r].weight * static_cast<double>(target_tokens(train[r]));
  const auto seed = derive_seed(job.seed(), static_cast<std::uint64_t>(1000 + job.progress.step));
  std::int64_t added = 0;
  for (const auto r : batch) {
    rows.push_back({&train[r], total > 0 ? train[r].weight / total : 0.0});
    experts.push_back({expert, derive_seed(seed, r)});
    added += static_cast<std::int64_t>(train[r].ids.size());
  }
  job.gradient.zero_();
  tokens += added;
  return added;
}

namespace {

/// The losses of a portion's experts, one scalar each so that each one's value is known; their sum carries the gradient
/// of all.
void backward(const model::Model& model, const at::Tensor& hidden, const std::vector<WeightedRow>& portion,
              const TrainingRow* experts, std::vector<double>& losses) {
  at::Tensor sum;
  std::int64_t at = 0;
  for (std::size_t begin = 0, end = 0; begin < portion.size(); begin = end) {
    std::int64_t tokens = 0;
    for (end = begin; end < portion.size() && experts[end].expert == experts[begin].expert; ++end)
      tokens += target_tokens(*portion[end].row);
    const std::vector<WeightedRow> own(portion.begin() + static_cast<std::ptrdiff_t>(begin),
                                       portion.begin() + static_cast<std::ptrdiff_t>(end));
    const auto loss = weighted_loss(model, hidden.narrow(0, at, tokens), own);
    losses[static_cast<std::size_t>(experts[begin].expert)] += loss.item<double>();
    sum = sum.defined() ? sum.add(loss) : loss;
    at += tokens;
  }
  sum.backward();
}

}  // namespace

std::vector<double> accumulate_gradients(const model::Model& model, const std::shared_ptr<const adapter::Bank>& bank,
                                         const StepRows& step, const TrainOptions& options) {
  std::vector<double> losses(static_cast<std::size_t>(bank->size()), 0.0);
  std::size_t first = 0;
  for (const auto& portion : portions(step.rows, options.micro_tokens)) {
    const auto begin = step.experts.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<TrainingRow> own(begin, begin + static_cast<std::ptrdiff_t>(portion.size()));
    const auto bind = bind_training_rows(bank, own, options.lora.dropout);
    const auto kept = options.recompute ? model::Activations::recompute : model::Activations::keep;
    const auto pass = model::answer_pass(model, answer_rows(portion), bind, kept);
    backward(model, pass.hidden, portion, own.data(), losses);
    first += portion.size();
  }
  return losses;
}

}  // namespace quiver::training
