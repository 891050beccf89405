// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/train_options.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::training {

void describe_rate(TrainOptions& o, OptionSet& set, const std::string& help) {
  set.number("learning_rate", o.learning_rate, above(0), help)
      .number("warmup", o.warmup, between(0, 1), "share of the steps in which the rate grows")
      .choice("schedule", o.schedule,
              {{"constant", Schedule::constant}, {"linear", Schedule::linear}, {"cosine", Schedule::cosine}},
              "of the rate after warm-up");
}

void describe(TrainOptions& o, OptionSet& set) {
  set.group("optimisation")
      .integer("epochs", o.epochs, at_least(1), "passes over the rows")
      .integer("max_steps", o.max_steps, at_least(0), "stop after so many steps, if the epochs are not over; 0: never")
      .integer("batch", o.batch_rows, at_least(1), "rows per step, of each expert");
  describe_rate(o, set, "after warm-up");
  set.number("weight_decay", o.weight_decay, at_least(0), "of AdamW; norms, biases and scales are spared")
      .number("clip", o.clip, at_least(0), "largest gradient norm; 0: off")
      .integer("seed", o.seed, at_least(0), "of weights, order and dropout")
      .integer("validate_every", o.validate_every, at_least(0), "steps; 0: once an epoch")
      .integer("patience", o.patience, at_least(0), "validations without a new best before stopping early; 0: never")
      .flag("recompute", o.recompute, "keep less for the backward pass and compute it again: less memory, more time")
      .integer("micro_tokens", o.micro_tokens, at_least(1), "a step is computed in portions of about so many tokens")
      .number("checkpoint_seconds", o.checkpoint_seconds, at_least(0), "between checkpoints")
      .flag_off("no_shuffle", o.shuffle, "rows in the order of the files");
}

void check(const TrainOptions& options) {
  auto copy = options;
  OptionSet set;
  describe(copy, set);
  check_ranges(set);
}

nlohmann::json to_json(const data::JoinOptions& j) {
  nlohmann::json out{{"separator", static_cast<int>(j.separator)},
                     {"tokenise", static_cast<int>(j.tokenise)},
                     {"mask", static_cast<int>(j.mask)},
                     {"max_tokens", j.max_tokens},
                     {"truncate", static_cast<int>(j.truncate)},
                     {"truncate_jointly", j.truncate_jointly},
                     {"append_eos", j.append_eos},
                     {"whole_sequence_loss", j.whole_sequence_loss},
                     {"begin_token", j.begin_token}};
  if (j.source_end_token >= 0) out["source_end_token"] = j.source_end_token;
  if (j.start_token >= 0) out["start_token"] = j.start_token;
  if (j.turn_end_token >= 0) out["turn_end_token"] = j.turn_end_token;
  return out;
}

nlohmann::json to_json(const TrainOptions& options) {
  auto o = options;
  OptionSet set;
  describe(o, set);
  describe(o.lora, set);
  auto out = set.to_json();
  for (const auto* name : {"recompute", "micro_tokens", "checkpoint_seconds"})
    out.erase(name);  // time and memory alone
  // What files have under names of their own, and what is not described.
  for (const auto* name : {"batch", "no_shuffle", "rslora"}) out.erase(name);
  out.update({{"batch_rows", o.batch_rows},
              {"shuffle", o.shuffle},
              {"rank_stabilised", o.lora.rank_stabilised},
              {"length_window", o.length_window},
              {"betas", {o.beta1, o.beta2}},
              {"epsilon", o.epsilon},
              {"join", to_json(o.join)}});
  // Absent otherwise: they must not change the keys of runs without them.
  if (!o.lora.share_a) out.erase("share_a");
  if (!o.kind.plain_lora()) out["kind"] = adapter::to_json(o.kind);
  return out;
}

double learning_rate_at(const TrainOptions& o, double rate, std::int64_t step, std::int64_t total) {
  const auto warm = static_cast<std::int64_t>(std::ceil(o.warmup * static_cast<double>(total)));
  if (step < warm) return rate * static_cast<double>(step + 1) / static_cast<double>(warm);
  if (o.schedule == Schedule::constant) return rate;
  const double done = static_cast<double>(step - warm) / static_cast<double>(std::max<std::int64_t>(1, total - warm));
  if (o.schedule == Schedule::linear) return rate * (1.0 - done);
  return rate * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace quiver::training
