// SPDX-License-Identifier: Apache-2.0
// For tests of evaluation: a tiny model with a tokenizer, an expert, and a naive pass to compare with.
#pragma once

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/model/load.h"
#include "quiver/routing/constant_router.h"

namespace quiver::evaluation {

using Ids = std::vector<std::int32_t>;

inline constexpr std::int32_t kNewline = 0, kEnd = 95;

/// A tokenizer for the tiny model's 96 ids: a line break, a space, letters, digits, pairs of letters, an end.
inline text::Tokenizer tiny_tokenizer(Ids ends = {kEnd}) {
  text::TokenizerParts parts;
  auto& pieces = parts.vocabulary.pieces;
  for (const char c : std::string("\n abcdefghijklmnopqrstuvwxyz0123456789")) pieces.emplace_back(1, c);
  for (const char first : std::string("aeiou")) {
    for (const char second : std::string("bdfglmnprstz")) {
      if (pieces.size() == kEnd) break;
      parts.vocabulary.merges.emplace_back(std::string(1, first), std::string(1, second));
      pieces.push_back({first, second});
    }
  }
  parts.added.push_back({.id = kEnd, .content = "<end>", .special = true});
  parts.eos_ids = std::move(ends);
  return text::Tokenizer(std::move(parts), "test");
}

class TinyEvaluation : public testing::Test {
 protected:
  TinyEvaluation() {
    at::manual_seed(4);
    adapter::LoraOptions options;
    options.rank = 3;
    auto lora = adapter::make_lora(model_, options, 1);
    for (auto& [site, f] : lora.sites) f.b = 0.1 * at::randn(f.b.sizes());
    bank_ = std::make_shared<adapter::Bank>(model_);
    bank_->add("expert", lora);
    task_.name = "tiny";
  }

  std::string words(int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      if (i > 0) out += ' ';
      const auto length = 1 + random_.below(4);
      for (std::uint64_t c = 0; c < length; ++c) out += static_cast<char>('a' + random_.below(26));
    }
    return out;
  }

  Evaluation evaluated(const routing::Router& router, const EvaluateOptions& options = {}) {
    SilentProgress silent;
    return evaluate({model_, tokenizer_, silent}, task_, router, "own", options);
  }

  /// Float64 log-probabilities of every id after `ids`, by one plain pass over the whole row.
  std::vector<double> next_log_probabilities(const Ids& ids, const routing::Router& router) const {
    const c10::AutoGradMode no_gradient(false);
    const auto batch = model::pack({{ids, nullptr, true}});
    const auto experts = routing::bind_once(router, batch, {{"tiny", ids}});
    const auto logits = model_.logits(model_.forward(batch, experts.get()))[batch.tokens() - 1].to(at::kDouble);
    std::vector<double> out(logits.const_data_ptr<double>(), logits.const_data_ptr<double>() + logits.numel());
    double sum = 0.0;
    for (const double logit : out) sum += std::exp(logit);
    for (double& logit : out) logit -= std::log(sum);
    return out;
  }

  /// Token by token, each after a pass of its own over all that stands before it.
  double log_likelihood(const Ids& prompt, const Ids& answer, const routing::Router& router) const {
    double sum = 0.0;
    Ids ids = prompt;
    for (const auto id : answer) {
      sum += next_log_probabilities(ids, router)[static_cast<std::size_t>(id)];
      ids.push_back(id);
    }
    return sum;
  }

  struct Line {
    std::string text;
    bool ended = false;  ///< by a line break or the end token, not by the limit
  };
  Line greedy_line(const Ids& prompt, std::int64_t max_new_tokens, const routing::Router& router) const {
    Ids ids = prompt;
    Line line;
    for (std::int64_t i = 0; i < max_new_tokens && !line.ended; ++i) {
      const auto next = next_log_probabilities(ids, router);
      ids.push_back(static_cast<std::int32_t>(std::max_element(next.begin(), next.end()) - next.begin()));
      line.ended = ids.back() == kEnd || ids.back() == kNewline;
      if (!line.ended) line.text += tokenizer_.token_text(ids.back());
    }
    line.text = trim(line.text);
    return line;
  }

  static data::Example row(const std::string& source, const std::string& target,
                           std::vector<std::string> options = {}) {
    data::Example out;
    out.source = source;
    out.target = target;
    out.options = std::move(options);
    out.split = data::Split::test;
    return out;
  }

  Ids prompt_of(const data::Example& example) const { return tokenizer_.encode(example.source + "\n"); }

  /// Checks what every task gets: the likelihood of each row's target and its end, and perplexity over all of them.
  void expect_perplexity(const Evaluation& got, const routing::Router& router) const {
    double sum = 0.0, tokens = 0.0;
    for (std::size_t i = 0; i < got.samples.size(); ++i) {
      auto answer = tokenizer_.encode(task_.examples[i].target);
      answer.push_back(kEnd);
      const double expected = log_likelihood(prompt_of(task_.examples[i]), answer, router);
      EXPECT_NEAR(got.samples[i].scores.at("target_log_likelihood"), expected, kNear) << "row " << i;
      EXPECT_EQ(got.samples[i].scores.at("target_tokens"), static_cast<double>(answer.size()));
      sum += expected;
      tokens += static_cast<double>(answer.size());
    }
    const auto& last = got.results.back();
    EXPECT_EQ(last.metric, "perplexity");
    EXPECT_EQ(last.count, got.samples.size());
    EXPECT_NEAR(std::log(last.value), -sum / tokens, kNear);
    EXPECT_LE(last.low, last.value);
    EXPECT_GE(last.high, last.value);
  }

  static const ResultRow& result(const Evaluation& evaluation, const std::string& metric) {
    const auto found = std::find_if(evaluation.results.begin(), evaluation.results.end(),
                                    [&](const auto& row) { return row.metric == metric; });
    if (found == evaluation.results.end()) throw std::logic_error("no " + metric);
    return *found;
  }

  // Logits of a few units that are right to a few parts in a million of their spread (golden_test.cpp), over at most
  // ten tokens: below 1e-3. A token left out or taken twice costs about log 96.
  static constexpr double kNear = 1e-3;

  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  text::Tokenizer tokenizer_ = tiny_tokenizer();
  std::shared_ptr<adapter::Bank> bank_;
  data::Task task_;
  Random random_{9};
};

}  // namespace quiver::evaluation
