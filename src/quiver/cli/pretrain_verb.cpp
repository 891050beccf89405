// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/workspace/model_folder.h"
#include "quiver/cli/verb.h"
#include "quiver/data/span_corruption.h"
#include "quiver/text/load_tokenizer.h"
#include "quiver/training/methods/full_training.h"

namespace quiver::cli {

using namespace workspace;

namespace {

using nlohmann::json;

struct Options {
  std::string shape, tokenizer, output, schedule = "cosine";
  std::vector<std::string> texts;
  std::int64_t source_tokens = 128, limit_bytes = 0, validation_rows = 64;
  int threads = 0;
  data::SpanCorruption spans;
  training::TrainOptions train;
  bool relative = true, json = false;
};

/// The texts' tokens, one after another; paragraphs are encoded apart.
std::vector<std::int32_t> tokens_of(const Options& o, const text::Tokenizer& tokenizer, Progress& progress) {
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
  Windows(std::vector<std::int32_t> tokens, const Options& o) : tokens_(std::move(tokens)), o_(o) {
    length_ = data::corrupted_length(static_cast<std::size_t>(o.source_tokens), o.spans);
    const auto held = length_ * static_cast<std::size_t>(o.validation_rows);
    QUIVER_CHECK(tokens_.size() > held + length_, usage, "--text",
                 "{} tokens, expected more than {} for validation and a row", tokens_.size(), held + length_);
    train_ = tokens_.size() - held;
  }

  std::vector<data::TokenRow> of_step(std::int64_t step) const {
    Random random(derive_seed(o_.train.seed, static_cast<std::uint64_t>(1000 + step)));
    std::vector<data::TokenRow> out;
    for (std::int64_t i = 0; i < o_.train.batch_rows; ++i)
      out.push_back(data::corrupt(window(random.below(train_ - length_)), o_.spans, random));
    return out;
  }
  std::vector<data::TokenRow> validation() const {
    Random random(derive_seed(o_.train.seed, 1));
    std::vector<data::TokenRow> out;
    for (std::int64_t i = 0; i < o_.validation_rows; ++i)
      out.push_back(data::corrupt(window(train_ + static_cast<std::size_t>(i) * length_), o_.spans, random));
    return out;
  }
  std::size_t tokens() const { return tokens_.size(); }

 private:
  std::span<const std::int32_t> window(std::size_t begin) const { return std::span(tokens_).subspan(begin, length_); }

  std::vector<std::int32_t> tokens_;
  const Options& o_;
  std::size_t length_ = 0, train_ = 0;
};

void run(Options& o) {
  TerminalProgress progress;
  set_threads(o.threads);
  o.train.schedule = training::schedule_of_name(o.schedule);
  const auto config = json::parse(read_file(o.shape, 1 << 24), nullptr, false);
  QUIVER_CHECK(config.is_object(), format, o.shape, "expected a JSON object");
  const auto tokenizer = text::load_tokenizer(o.tokenizer).tokenizer;
  const auto sentinel = tokenizer->encode("<extra_id_0>");
  QUIVER_CHECK(sentinel.size() == 1 && !tokenizer->eos_ids().empty(), unsupported, "--tokenizer " + o.tokenizer,
               "span corruption needs an end of sequence and the pieces <extra_id_0>, <extra_id_1>, ...");
  o.spans.first_sentinel = sentinel[0];
  o.spans.end_token = tokenizer->eos_ids()[0];
  auto model = model::TrainableModel::create(config, o.train.seed);
  const Windows windows(tokens_of(o, *tokenizer, progress), o);
  std::fprintf(stderr, "%.2f million parameters, %.1f million tokens of text, %.1f million seen in %lld steps\n",
               static_cast<double>(model.parameters.numel()) / 1e6, static_cast<double>(windows.tokens()) / 1e6,
               static_cast<double>(o.train.max_steps * o.train.batch_rows * o.source_tokens) / 1e6,
               static_cast<long long>(o.train.max_steps));
  const training::FullTraining training{o.train,
                                        "pretrain",
                                        config.dump() + std::to_string(windows.tokens()) + " " +
                                            std::to_string(o.source_tokens) + " " + std::to_string(o.spans.density) +
                                            " " + std::to_string(o.spans.mean_span) + " " +
                                            std::to_string(o.train.batch_rows),
                                        fs::path(o.output) / "run",
                                        o.relative,
                                        true};
  const auto result = training::train_full(
      model, training, [&](std::int64_t step) { return windows.of_step(step); }, windows.validation(), progress);
  save_model_folder(model, o.tokenizer, o.output);
  const json figures{{"output", o.output},
                     {"parameters", model.parameters.numel()},
                     {"steps", result.steps},
                     {"tokens", result.tokens},
                     {"seconds", result.seconds},
                     {"train_loss", number_or_null(result.train_loss)},
                     {"first_validation_loss", number_or_null(result.first_validation)},
                     {"validation_loss", number_or_null(result.validation_loss)}};
  if (o.json) return print_json(figures);
  std::printf("%s: validation loss %.3f (%.3f before), %lld steps\n", o.output.c_str(), result.validation_loss,
              result.first_validation, static_cast<long long>(result.steps));
}

}  // namespace

std::function<void()> declare_pretrain(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->train.batch_rows = 32;
  o->train.learning_rate = 1e-2;
  o->train.max_steps = 1000;
  o->train.validate_every = 200;
  o->train.checkpoint_seconds = 120;
  auto& t = o->train;
  app.add_option("--shape", o->shape, "a config.json of T5's kind: the shape of the model")->required();
  app.add_option("--tokenizer", o->tokenizer, "a folder with its tokenizer")->required();
  app.add_option("--text", o->texts, "plain text, paragraphs parted by blank lines (repeatable)")->required();
  app.add_option("--output", o->output, "a folder for the model; a run that was killed goes on there")->required();
  app.add_option("--source-tokens", o->source_tokens, "length of a corrupted text")->capture_default_str();
  app.add_option("--density", o->spans.density, "share of tokens taken out")->capture_default_str();
  app.add_option("--mean-span", o->spans.mean_span, "tokens taken out together")->capture_default_str();
  app.add_option("--limit-bytes", o->limit_bytes, "of each text; 0: all")->capture_default_str();
  app.add_option("--validation-rows", o->validation_rows, "texts at the end that are not trained on")
      ->capture_default_str();
  app.add_option("--max-steps", t.max_steps, "optimiser steps")->capture_default_str();
  app.add_option("--batch", t.batch_rows, "texts per step")->capture_default_str();
  app.add_option("--learning-rate", t.learning_rate,
                 "after warm-up; of relative steps, the share that a tensor changes")
      ->capture_default_str();
  app.add_flag("--relative-steps,!--plain-steps", o->relative,
               "steps in proportion to each tensor's root mean square, as Adafactor's (default), or AdamW's own");
  app.add_option("--warmup", t.warmup, "share of the steps in which the rate grows")->capture_default_str();
  app.add_option("--schedule", o->schedule, "constant, linear or cosine")->capture_default_str();
  app.add_option("--weight-decay", t.weight_decay, "of AdamW")->capture_default_str();
  app.add_option("--clip", t.clip, "largest gradient norm; 0: off")->capture_default_str();
  app.add_option("--seed", t.seed, "of weights, windows and spans")->capture_default_str();
  app.add_option("--validate-every", t.validate_every, "steps")->capture_default_str();
  app.add_option("--micro-tokens", t.micro_tokens, "a step is computed in portions of about so many tokens")
      ->capture_default_str();
  app.add_option("--checkpoint-seconds", t.checkpoint_seconds, "between checkpoints")->capture_default_str();
  app.add_option("--threads", o->threads, "compute threads; 0: one per core")->capture_default_str();
  app.add_flag("--json", o->json, "one object with the figures");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
