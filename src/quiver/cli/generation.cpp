// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/generation.h"

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/text/stream_decoder.h"

namespace quiver::cli {
namespace {

/// Collects text, prints what cannot become part of a stop string any more, and says when one is complete.
class StopWatch {
 public:
  StopWatch(const std::vector<std::string>& stops, bool print) : stops_(stops), print_(print) {}

  /// False once a stop string has come.
  bool push(const std::string& piece) {
    text_ += piece;
    for (const auto& stop : stops_) {
      const auto at = text_.find(stop, searched_ > stop.size() ? searched_ - stop.size() : 0);
      if (at == std::string::npos) continue;
      text_.resize(at);
      show(text_.size());
      return false;
    }
    searched_ = text_.size();
    show(text_.size() - held_back());
    return true;
  }
  void finish(const std::string& rest) {
    text_ += rest;
    show(text_.size());
  }
  const std::string& text() const { return text_; }

 private:
  /// Bytes at the end that begin some stop string.
  std::size_t held_back() const {
    std::size_t longest = 0;
    for (const auto& stop : stops_) {
      for (std::size_t n = std::min(stop.size(), text_.size()); n > longest; --n) {
        if (text_.ends_with(stop.substr(0, n))) longest = n;
      }
    }
    return longest;
  }
  void show(std::size_t end) {
    if (print_ && end > shown_) {
      std::fwrite(text_.data() + shown_, 1, end - shown_, stdout);
      std::fflush(stdout);
    }
    shown_ = std::max(shown_, end);
  }

  const std::vector<std::string>& stops_;
  bool print_;
  std::string text_;
  std::size_t searched_ = 0, shown_ = 0;
};

}  // namespace

void GenerationOptions::declare(CLI::App& app) {
  app.add_option("--max-new-tokens", model.max_new_tokens, "longest answer, in tokens")->capture_default_str();
  app.add_option("--temperature", model.sampling.temperature, "0: the most likely token each time")
      ->capture_default_str();
  app.add_option("--top-k", model.sampling.top_k, "sample among the k most likely; 0: all")->capture_default_str();
  app.add_option("--top-p", model.sampling.top_p, "... among the fewest that have this probability together")
      ->capture_default_str();
  app.add_option("--min-p", model.sampling.min_p, "... among those with this share of the largest probability")
      ->capture_default_str();
  app.add_option("--repetition-penalty", model.sampling.repetition_penalty,
                 "above 1: tokens that came before are less likely")
      ->capture_default_str();
  app.add_option("--stop", stop, "end before this text (repeatable)");
  app.add_option("--seed", model.seed, "of sampling")->capture_default_str();
}

Answer generate_streamed(const LoadedModel& loaded, const routing::Router& router, const std::string& prompt,
                         const std::string& task, const GenerationOptions& o, bool print) {
  const auto ids = loaded.text.tokenizer->encode(prompt, {true, true});
  QUIVER_CHECK(!ids.empty(), usage, "--prompt", "the prompt is empty");
  for (const auto& stop : o.stop)
    QUIVER_CHECK(!stop.empty(), usage, "--stop", "an empty stop string would end every answer at once");
  auto options = o.model;
  options.stop_tokens = loaded.text.tokenizer->eos_ids();
  text::StreamDecoder decoder(loaded.text.tokenizer, {true});
  StopWatch watch(o.stop, print);
  bool stopped = false;
  const auto answers =
      model::generate(loaded.model, {ids}, options, routing::bind_requests(router, {{task, ids}}), [&](std::size_t, std::int32_t token) {
        stopped = !watch.push(decoder.push(token));
        return !stopped;
      });
  if (!stopped) watch.finish(decoder.finish());
  return {watch.text(), answers[0]};
}

}  // namespace quiver::cli
