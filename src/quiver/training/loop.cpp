// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

using nlohmann::json;

/// Numbers that are not finite, from which no training goes on.
class NotFinite : public Error {
 public:
  NotFinite(const std::string& where, const std::string& what)
      : Error(ErrorCode::mismatch, fmt::format("[{}] {}; lower --learning-rate", where, what)) {}
};

void zero_gradients(Lane& lane) {
  for (auto& group : lane.groups) group.gradient.zero_();
}

void check_loss(const std::string& where, const char* which, double loss, std::int64_t step) {
  if (!std::isfinite(loss)) throw NotFinite(where, fmt::format("the {} is {} at step {}", which, loss, step));
}

}  // namespace

Loop::Loop(Objective& objective, const TrainOptions& options, Progress& progress, std::string title)
    : objective_(objective),
      options_(options),
      progress_(progress),
      title_(std::move(title)),
      failures_(progress, objective.lanes().size()) {
  check(options);
  const auto against = objective.against_recompute();
  QUIVER_CHECK(!options.recompute || against.empty(), unsupported, "--recompute",
               "{}: {}; lower --micro-tokens instead", title_, against);
  states_.resize(objective.lanes().size());
  for (std::size_t i = 0; i < states_.size(); ++i) {
    for (auto& group : lane(i).groups) {
      constexpr double kLargest = 1e37;  // the first step of AdamW is ten times the rate, in float32
      QUIVER_CHECK(group.learning_rate <= kLargest, usage, "--learning-rate", "{} for '{}', expected at most {}",
                   group.learning_rate, group.name, kLargest);
      if (!group.gradient.defined()) {
        QUIVER_CHECK(group.values.requires_grad() && group.values.is_leaf(), mismatch, lane(i).name,
                     "'{}' is not a leaf that requires a gradient", group.name);
        group.gradient = at::zeros_like(group.values);
        group.values.mutable_grad() = group.gradient;
      }
      if (!group.decays.defined() && group.values.dim() < 2) group.decays = at::zeros_like(group.values, at::kBool);
      states_[i].optimizers.emplace_back(group.values);
    }
    states_[i].validates = weighted_targets(lane(i).validation) > 0;
  }
}

std::vector<Figures> Loop::run(const Ended& ended) {
  for (std::size_t i = 0; i < states_.size(); ++i) {
    start(i);
    if (states_[i].ended && !states_[i].failed) end(i, ended);
  }
  for (auto now = active(); !now.empty(); now = active()) {
    step(now);
    for (const auto i : now) {
      if (!states_[i].failed) after_step(i);
      if (states_[i].ended && !states_[i].failed) end(i, ended);
    }
  }
  progress_.finish();
  failures_.refuse(title_);
  std::vector<Figures> out;
  for (const auto& state : states_) out.push_back(state.figures);
  return out;
}

void Loop::start(std::size_t i) {
  auto& state = states_[i];
  const bool restored = restore(i);
  if (lane(i).run) lane(i).run->begin_metrics(state.figures.steps);
  if (restored || !state.validates) return;
  try {
    state.figures.first_validation = state.figures.validation_loss = validate(i);
  } catch (const Error& error) {
    return fail(i, error);
  }
  for (const auto& group : lane(i).groups) state.best.push_back(group.values.detach().clone());
}

std::vector<std::size_t> Loop::active() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (!states_[i].ended) out.push_back(i);
  }
  return out;
}

std::int64_t Loop::step(const std::vector<std::size_t>& lanes) {
  const auto began = Clock::now();
  std::vector<WeightedRow> rows;
  std::vector<std::int64_t> tokens(states_.size(), 0);
  std::vector<bool> counts(states_.size(), false);
  std::int64_t all = 0;
  for (const auto i : lanes) {
    zero_gradients(lane(i));
    const auto own = lane(i).rows(states_[i].figures.steps);
    const double targets = weighted_targets(own);
    for (auto row : own) {
      if (!(row.row->weight > 0)) continue;
      row.token_weight = row.row->weight / targets;
      row.lane = i;
      rows.push_back(row);
      tokens[i] += static_cast<std::int64_t>(row.row->ids.size());
    }
    counts[i] = targets > 0;
    all += tokens[i];
  }
  objective_.begin(states_[lanes.front()].figures.steps);
  const auto losses = accumulate(rows);
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
  const double each = all > 0 ? seconds() / static_cast<double>(all) : 0.0;
  for (const auto i : lanes) {
    try {
      check_loss(lane(i).name, "loss", losses[i], states_[i].figures.steps + 1);
      const double norm = apply_gradients(i);
      check_loss(lane(i).name, "norm of the gradient", norm, states_[i].figures.steps + 1);
      if (counts[i]) {
        states_[i].loss_sum += losses[i];
        ++states_[i].loss_steps;
      }
      count(i, losses[i], norm, tokens[i], each * static_cast<double>(tokens[i]));
    } catch (const Error& error) {
      fail(i, error);
    }
  }
  double loss = 0.0;
  for (const auto i : lanes) loss += losses[i] / static_cast<double>(lanes.size());
  show(fmt::format("loss {:.3f} {:.0f} tokens/s", loss, static_cast<double>(all) / seconds()));
  return all;
}

std::vector<double> Loop::accumulate(const std::vector<WeightedRow>& rows) {
  std::vector<double> losses(states_.size(), 0.0);
  const auto kept = options_.recompute ? model::Activations::recompute : model::Activations::keep;
  for (const auto& portion : portions(rows, options_.micro_tokens)) {
    const auto pass = model::answer_pass(objective_.model(), answer_rows(portion), objective_.bind(portion), kept);
    backward(pass.hidden, portion, static_cast<double>(portion.size()) / static_cast<double>(rows.size()), losses);
  }
  return losses;
}

/// The losses of a portion's lanes, one scalar each so that each one's value is known; their sum carries the gradient
/// of all. Rows of one lane stand side by side.
void Loop::backward(const at::Tensor& hidden, const std::vector<WeightedRow>& portion, double share,
                    std::vector<double>& losses) {
  at::Tensor sum;
  std::int64_t at = 0;
  for (auto begin = portion.begin(), end = begin; begin != portion.end(); begin = end) {
    std::int64_t tokens = 0;
    for (end = begin; end != portion.end() && end->lane == begin->lane; ++end) tokens += target_tokens(*end->row);
    const auto loss = weighted_loss(objective_.model(), hidden.narrow(0, at, tokens), {begin, end});
    losses[begin->lane] += loss.item<double>();
    sum = sum.defined() ? sum.add(loss) : loss;
    at += tokens;
  }
  if (const auto more = objective_.extra_loss(hidden); more.defined()) sum = sum + more * share;
  QUIVER_CHECK(sum.requires_grad(), mismatch, title_, "nothing in the batch depends on what is trained");
  sum.backward({}, objective_.passes_share_graph());
}

/// One step of AdamW of each group; returns the norm of all gradients before clipping.
double Loop::apply_gradients(std::size_t i) {
  const c10::AutoGradMode no_gradient(false);
  const ops::AdamWOptions adamw{options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay};
  const auto number = states_[i].figures.steps;
  double squares = 0.0, only = 0.0;
  auto& groups = lane(i).groups;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    auto& group = groups[g];
    only = ops::clip_norm(group.gradient, options_.clip);
    squares += only * only;
    const auto before = group.stepped ? group.values.detach().clone() : at::Tensor();
    auto values = group.values.detach();
    states_[i].optimizers[g].step(values, group.gradient,
                                  learning_rate_at(options_, group.learning_rate, number, lane(i).steps), number, adamw,
                                  group.decays);
    if (group.stepped) group.stepped(before);
  }
  return groups.size() == 1 ? only : std::sqrt(squares);
}

void Loop::count(std::size_t i, double loss, double norm, std::int64_t tokens, double seconds) {
  auto& f = states_[i].figures;
  const double rate = learning_rate_at(options_, lane(i).groups[0].learning_rate, f.steps, lane(i).steps);
  ++f.steps;
  f.tokens += tokens;
  f.seconds += seconds;
  if (!lane(i).run) return;
  lane(i).run->write_metrics({{"step", f.steps},
                              {"epoch", static_cast<double>(f.steps) / static_cast<double>(lane(i).steps_per_epoch)},
                              {"loss", loss},
                              {"learning_rate", rate},
                              {"gradient_norm", norm},
                              {"tokens", f.tokens},
                              {"tokens_per_second", seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0}});
}

void Loop::show(const std::string& note) {
  std::int64_t done = 0, total = 0;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    done += states_[i].ended ? lane(i).steps : states_[i].figures.steps;
    total += lane(i).steps;
  }
  progress_.update(title_, static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total), note);
}

double Loop::validate(std::size_t i) {
  const c10::AutoGradMode no_gradient(false);
  objective_.begin(states_[i].figures.steps);
  auto rows = lane(i).validation;
  for (auto& row : rows) row.lane = i;
  const double loss = mean_loss(
      objective_.model(), rows, [&](const auto& own) { return objective_.bind(own); },
      [&](std::size_t done, std::size_t all) { show(fmt::format("validating, row {} of {}", done, all)); });
  const auto step = states_[i].figures.steps;
  check_loss(lane(i).name, "validation loss", loss, step);
  if (lane(i).run) lane(i).run->write_metrics({{"step", step}, {"validation_loss", loss}});
  return loss;
}

void Loop::after_step(std::size_t i) {
  auto& state = states_[i];
  const auto every = options_.validate_every > 0 ? options_.validate_every : lane(i).steps_per_epoch;
  const bool last = state.figures.steps >= lane(i).steps;
  try {
    if (last || state.figures.steps % every == 0) {
      if (state.loss_steps > 0) state.figures.train_loss = state.loss_sum / static_cast<double>(state.loss_steps);
      state.loss_sum = 0.0;
      state.loss_steps = 0;
      if (state.validates) compare(i, validate(i));
    }
  } catch (const Error& error) {
    return fail(i, error);
  }
  state.ended = last || state.figures.stopped_early;
  const bool due =
      std::chrono::duration<double>(Clock::now() - state.checkpointed).count() >= options_.checkpoint_seconds;
  if (!state.ended && lane(i).run && due) checkpoint(i);
}

void Loop::compare(std::size_t i, double loss) {
  auto& state = states_[i];
  auto& f = state.figures;
  if (loss < f.validation_loss) {
    f.validation_loss = loss;
    f.best_step = f.steps;
    state.validations_since_best = 0;
    for (std::size_t g = 0; g < state.best.size(); ++g) state.best[g].copy_(lane(i).groups[g].values.detach());
    return;
  }
  ++state.validations_since_best;
  f.stopped_early = options_.patience > 0 && state.validations_since_best >= options_.patience;
}

std::string Loop::note(std::size_t i) {
  const auto& f = states_[i].figures;
  if (states_[i].validates && f.best_step == 0)
    return fmt::format(
        "validation got no better than before training ({:.3f}): the weights that are kept are those of the start",
        f.first_validation);
  if (!states_[i].validates && !lane(i).validation.empty())
    return "all validation rows have weight 0: nothing was validated, the last weights are kept";
  return "";
}

void Loop::end(std::size_t i, const Ended& ended) {
  auto& state = states_[i];
  const c10::AutoGradMode no_gradient(false);
  try {
    for (std::size_t g = 0; g < lane(i).groups.size(); ++g) {
      auto values = lane(i).groups[g].values.detach();
      if (!state.best.empty()) values.copy_(state.best[g]);
      if (!at::isfinite(values).all().item<bool>())
        throw NotFinite(lane(i).name, fmt::format("weights are not finite after step {}", state.figures.steps));
    }
    if (!state.validates) state.figures.best_step = state.figures.steps;
    state.figures.note = note(i);
    if (lane(i).run) checkpoint(i);
    if (ended) ended(i, state.figures);
  } catch (const Error& error) {
    fail(i, error);
  }
}

/// Called where `error` is caught. What could not be kept stays in the checkpoint.
void Loop::fail(std::size_t i, const Error& error) {
  states_[i].ended = states_[i].failed = true;
  if (lane(i).run && dynamic_cast<const NotFinite*>(&error)) lane(i).run->drop_checkpoint();
  failures_.add(lane(i).name, error);
}

void Loop::checkpoint(std::size_t i) {
  auto& state = states_[i];
  RunFolder::Checkpoint out;
  for (std::size_t g = 0; g < lane(i).groups.size(); ++g) {
    const auto& group = lane(i).groups[g];
    out.tensors[group.name + ".values"] = group.values.detach();
    if (state.ended) continue;  // the weights kept are all that is left of it
    out.tensors[group.name + ".mean"] = state.optimizers[g].mean;
    out.tensors[group.name + ".variance"] = state.optimizers[g].variance;
    if (!state.best.empty()) out.tensors[group.name + ".best"] = state.best[g];
  }
  auto figures = to_json(state.figures);
  figures["step"] = state.figures.steps;
  out.progress = std::move(figures);
  out.progress["loss_sum"] = state.loss_sum;
  out.progress["loss_steps"] = state.loss_steps;
  out.progress["validations_since_best"] = state.validations_since_best;
  out.progress["ended"] = state.ended;
  lane(i).run->write(out);
  state.checkpointed = Clock::now();
}

bool Loop::restore(std::size_t i) {
  if (!lane(i).run) return false;
  const auto saved = lane(i).run->read();
  if (!saved) return false;
  auto& state = states_[i];
  const auto where = (lane(i).run->folder() / "checkpoint").string();
  const auto copy = [&](const std::string& name, at::Tensor into) {
    const auto found = saved->tensors.find(name);
    QUIVER_CHECK(found != saved->tensors.end() && found->second.sizes() == into.sizes(), format, where,
                 "no '{}' of the shape that is trained; remove the folder to start this run again", name);
    into.copy_(found->second);
  };
  const c10::AutoGradMode no_gradient(false);
  const auto& p = saved->progress;
  state.figures = figures_of(p);
  state.loss_sum = p.value("loss_sum", 0.0);
  state.loss_steps = p.value("loss_steps", std::int64_t{0});
  state.validations_since_best = p.value("validations_since_best", std::int64_t{0});
  state.ended = p.value("ended", false);
  for (std::size_t g = 0; g < lane(i).groups.size(); ++g) {
    const auto& group = lane(i).groups[g];
    copy(group.name + ".values", group.values.detach());
    if (state.ended) continue;
    copy(group.name + ".mean", state.optimizers[g].mean);
    copy(group.name + ".variance", state.optimizers[g].variance);
    if (!state.validates) continue;
    state.best.push_back(at::zeros_like(group.values.detach()));
    copy(group.name + ".best", state.best.back());
  }
  return true;
}

}  // namespace quiver::training
