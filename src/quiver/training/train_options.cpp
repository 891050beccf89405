// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/train_options.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::training {
namespace {

const char* name_of(Schedule schedule) {
  switch (schedule) {
    case Schedule::constant:
      return "constant";
    case Schedule::linear:
      return "linear";
    case Schedule::cosine:
      return "cosine";
  }
  return "";
}

}  // namespace

Schedule schedule_of_name(const std::string& name) {
  for (const auto schedule : {Schedule::constant, Schedule::linear, Schedule::cosine}) {
    if (name == name_of(schedule)) return schedule;
  }
  fail(ErrorCode::usage, "--schedule", "'{}'{}", name, suggestion(name, {"constant", "linear", "cosine"}));
}

void check(const TrainOptions& o) {
  const auto require = [](bool ok, const char* option, double value, const char* expected) {
    QUIVER_CHECK(ok, usage, option, "{}, expected {}", value, expected);
  };
  require(o.epochs >= 1, "--epochs", static_cast<double>(o.epochs), "1 or more");
  require(o.max_steps >= 0, "--max-steps", static_cast<double>(o.max_steps), "0 (all epochs) or more");
  require(o.batch_rows >= 1, "--batch", static_cast<double>(o.batch_rows), "1 or more rows");
  require(o.learning_rate > 0, "--learning-rate", o.learning_rate, "a positive number");
  require(o.warmup >= 0 && o.warmup <= 1, "--warmup", o.warmup, "a share of 0 to 1");
  require(o.weight_decay >= 0, "--weight-decay", o.weight_decay, "0 or more");
  require(o.clip >= 0, "--clip", o.clip, "0 (off) or more");
  require(o.micro_tokens >= 1, "--micro-tokens", static_cast<double>(o.micro_tokens), "1 or more");
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
  return out;
}

nlohmann::json to_json(const adapter::KindOptions& k) {
  nlohmann::json out{{"kinds", k.kinds},
                     {"width", k.width},
                     {"nonlinearity", static_cast<int>(k.nonlinearity)},
                     {"scale", k.scale},
                     {"prompt_tokens", k.prompt_tokens},
                     {"prefix_hidden", k.prefix_hidden},
                     {"products", k.products},
                     {"targets", k.targets}};
  if (k.kinds.contains("mpt")) out["prompt_rank"] = k.prompt_rank;
  return out;
}

nlohmann::json to_json(const TrainOptions& o) {
  nlohmann::json out{{"rank", o.lora.rank},
                     {"alpha", o.lora.alpha},
                     {"rank_stabilised", o.lora.rank_stabilised},
                     {"dropout", o.lora.dropout},
                     {"targets", o.lora.targets},
                     {"init", adapter::init_name(o.lora.init)},
                     {"join", to_json(o.join)},
                     {"epochs", o.epochs},
                     {"max_steps", o.max_steps},
                     {"batch_rows", o.batch_rows},
                     {"length_window", o.length_window},
                     {"shuffle", o.shuffle},
                     {"learning_rate", o.learning_rate},
                     {"warmup", o.warmup},
                     {"schedule", name_of(o.schedule)},
                     {"betas", {o.beta1, o.beta2}},
                     {"epsilon", o.epsilon},
                     {"weight_decay", o.weight_decay},
                     {"clip", o.clip},
                     {"seed", o.seed},
                     {"validate_every", o.validate_every},
                     {"patience", o.patience}};
  // Absent otherwise: they must not change the keys of runs without them.
  if (o.lora.share_a) out["share_a"] = true;
  if (!o.kind.plain_lora()) out["kind"] = to_json(o.kind);
  return out;
}

double learning_rate_at(const TrainOptions& o, std::int64_t step, std::int64_t total) {
  const auto warm = static_cast<std::int64_t>(std::ceil(o.warmup * static_cast<double>(total)));
  if (step < warm) return o.learning_rate * static_cast<double>(step + 1) / static_cast<double>(warm);
  if (o.schedule == Schedule::constant) return o.learning_rate;
  const double done = static_cast<double>(step - warm) / static_cast<double>(std::max<std::int64_t>(1, total - warm));
  if (o.schedule == Schedule::linear) return o.learning_rate * (1.0 - done);
  return o.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace quiver::training
