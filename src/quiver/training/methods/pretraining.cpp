// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/pretraining.h"

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/text/load_tokenizer.h"
#include "quiver/training/methods/full_training.h"
#include "quiver/training/methods/model_folder.h"

namespace quiver::training {
namespace {

using nlohmann::json;

/// The texts' tokens, one after another; paragraphs are encoded apart.
std::vector<std::int32_t> tokens_of(const PretrainOptions& o, const text::Tokenizer& tokenizer, Progress& progress) {
  std::vector<std::int32_t> out;
  for (const auto& path : o.texts) {
    auto text = read_file(path, std::uint64_t{1} << 34);
    if (o.limit_bytes > 0) text.resize(std::min(text.size(), static_cast<std::size_t>(o.limit_bytes)));
    for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 2) {
      end = std::min(text.find("\n\n", begin), text.size());
      const auto ids = tokenizer.encode(std::string_view(text).substr(begin, end - begin));
      out.insert(out.end(), ids.begin(), ids.end());
      progress.update("tokenise", end, text.size(), path);
    }
  }
  progress.finish();
  return out;
}

/// Windows of the tokens, corrupted: random ones of the front to train on, those of the end to validate.
class Windows {
 public:
  Windows(std::vector<std::int32_t> tokens, const PretrainOptions& o, data::SpanCorruption spans)
      : tokens_(std::move(tokens)), o_(o), spans_(std::move(spans)) {
    length_ = data::corrupted_length(static_cast<std::size_t>(o.source_tokens), spans_);
    const auto held = length_ * static_cast<std::size_t>(o.validation_rows);
    QUIVER_CHECK(tokens_.size() > held + length_, usage, "--text",
                 "{} tokens, expected more than {} for validation and a row", tokens_.size(), held + length_);
    train_ = tokens_.size() - held;
  }

  std::vector<data::TokenRow> of_step(std::int64_t step) const {
    Random random(derive_seed(o_.train.seed, static_cast<std::uint64_t>(1000 + step)));
    std::vector<data::TokenRow> out;
    for (std::int64_t i = 0; i < o_.train.batch_rows; ++i)
      out.push_back(data::corrupt(window(random.below(train_ - length_)), spans_, random));
    return out;
  }
  std::vector<data::TokenRow> validation() const {
    Random random(derive_seed(o_.train.seed, 1));
    std::vector<data::TokenRow> out;
    for (std::int64_t i = 0; i < o_.validation_rows; ++i)
      out.push_back(data::corrupt(window(train_ + static_cast<std::size_t>(i) * length_), spans_, random));
    return out;
  }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }

 private:
  std::span<const std::int32_t> window(std::size_t begin) const { return std::span(tokens_).subspan(begin, length_); }

  std::vector<std::int32_t> tokens_;
  const PretrainOptions& o_;
  data::SpanCorruption spans_;
  std::size_t length_ = 0, train_ = 0;
};

data::SpanCorruption spans_of(const PretrainOptions& o, const text::Tokenizer& tokenizer) {
  const auto sentinel = tokenizer.encode("<extra_id_0>");
  QUIVER_CHECK(sentinel.size() == 1 && !tokenizer.eos_ids().empty(), unsupported, "--tokenizer " + o.tokenizer,
               "span corruption needs an end of sequence and the pieces <extra_id_0>, <extra_id_1>, ...");
  auto out = o.spans;
  out.first_sentinel = sentinel[0];
  out.end_token = tokenizer.eos_ids()[0];
  return out;
}

/// Hash over all that decides the result.
std::string key_of(const PretrainOptions& o, const json& config, const std::vector<std::int32_t>& tokens) {
  Sha256 hash;
  hash.add(to_json(o.train).dump() + config.dump() +
           fmt::format(" {} {} {} {} {}", o.source_tokens, o.spans.density, o.spans.mean_span, o.validation_rows,
                       o.plain_steps));
  hash.add(tokens.data(), tokens.size() * sizeof(tokens[0]));
  return hash.hex();
}

}  // namespace

PretrainOptions::PretrainOptions() {
  train.batch_rows = 32;
  train.learning_rate = 1e-2;
  train.max_steps = 1000;
  train.validate_every = 200;
  train.checkpoint_seconds = 120;
  train.schedule = Schedule::cosine;
}

void describe(PretrainOptions& o, OptionSet& set) {
  auto& t = o.train;
  set.group("texts")
      .integer("source_tokens", o.source_tokens, at_least(3), "length of a corrupted text")
      .number("density", o.spans.density, Range{.low = 0, .high = 1, .above_low = true, .below_high = true},
              "share of tokens taken out")
      .number("mean_span", o.spans.mean_span, at_least(1), "tokens taken out together")
      .integer("limit_bytes", o.limit_bytes, at_least(0), "of each text; 0: all")
      .integer("validation_rows", o.validation_rows, at_least(0), "texts at the end that are not trained on");
  set.group("optimisation");
  describe_rate(t, set, "after warm-up; of relative steps, the share that a tensor changes");
  set.integer("max_steps", t.max_steps, at_least(1), "optimiser steps")
      .integer("batch", t.batch_rows, at_least(1), "texts per step")
      .flag("plain_steps", o.plain_steps,
            "AdamW's own steps; by default they are in proportion to each tensor's root mean square, as Adafactor's")
      .number("weight_decay", t.weight_decay, at_least(0), "of AdamW; norms and biases are spared")
      .number("clip", t.clip, at_least(0), "largest gradient norm; 0: off")
      .integer("seed", t.seed, at_least(0), "of weights, windows and spans")
      .integer("validate_every", t.validate_every, at_least(0), "steps; 0: at the end")
      .integer("patience", t.patience, at_least(0), "validations without a new best before stopping early; 0: never")
      .integer("micro_tokens", t.micro_tokens, at_least(1), "a step is computed in portions of about so many tokens")
      .number("checkpoint_seconds", t.checkpoint_seconds, at_least(0), "between checkpoints")
      .flag("replace", o.replace, "overwrite an earlier model, and drop the checkpoint of another run");
}

Pretrained pretrain(const PretrainOptions& o, Progress& progress) {
  const auto config = json::parse(read_file(o.shape, 1 << 24), nullptr, false);
  QUIVER_CHECK(config.is_object(), format, o.shape, "expected a JSON object");
  const auto tokenizer = text::load_tokenizer(o.tokenizer).tokenizer;
  const auto output = model_output(o.output, o.replace, {o.tokenizer, o.shape});
  const bool a_run_is_done = fs::exists(output.path / "run" / "result.json");  // this one, perhaps
  if (!a_run_is_done) check_model_output(output);
  const Windows windows(tokens_of(o, *tokenizer, progress), o, spans_of(o, *tokenizer));
  const auto key = key_of(o, config, windows.tokens());
  if (a_run_is_done && !saved_model(output.path, key)) check_model_output(output);
  auto model = model::TrainableModel::create(config, o.train.seed);
  Pretrained out;
  out.parameters = model.parameters.numel();
  out.text_tokens = static_cast<std::int64_t>(windows.tokens().size());
  RunFolder run(output.path / "run", key, o.replace, progress);
  if (const auto before = saved_model(output.path, key)) {
    out.figures = *before;
    out.already_there = true;
    return out;
  }
  progress.say(fmt::format("{:.2f} million parameters, {:.1f} million tokens of text, {:.1f} million seen in {} steps",
                           static_cast<double>(out.parameters) / 1e6, static_cast<double>(out.text_tokens) / 1e6,
                           static_cast<double>(o.train.max_steps * o.train.batch_rows * o.source_tokens) / 1e6,
                           o.train.max_steps));
  out.figures = train_full(
      model, {o.train, "pretrain", &run, !o.plain_steps}, [&](std::int64_t step) { return windows.of_step(step); },
      windows.validation(), progress);
  save_model(output, model, o.tokenizer, key, out.figures);
  run.drop_checkpoint();
  return out;
}

}  // namespace quiver::training
