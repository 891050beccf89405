// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/evaluate.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "quiver/base/error.h"
#include "quiver/evaluation/candidates.h"
#include "quiver/evaluation/metrics.h"
#include "quiver/evaluation/routing_accuracy.h"
#include "quiver/evaluation/scored_rows.h"
#include "quiver/evaluation/summary.h"
#include "quiver/evaluation/unicode_text.h"
#include "quiver/serving/generate.h"

namespace quiver::evaluation {
namespace {

using Ids = std::vector<std::int32_t>;

/// An answer after a prompt: its row of training.
struct Answer {
  double log_likelihood, tokens;
  double mean() const { return log_likelihood / tokens; }
};

/// Answers as rows that share prompts, and the prompts that routers read: of a row, what stands before its answer.
struct Joined {
  std::vector<PromptCandidates> candidates;
  std::vector<Ids> read;  ///< by prompt

  /// What stands before an answer is computed once for all answers in turn that share it, and what routers read; a
  /// token over the border, or a long answer that cuts the source, gives an answer its own.
  void add(std::span<const std::int32_t> before, std::span<const std::int32_t> answer,
           std::span<const std::int32_t> reads) {
    const bool read_alike =
        !read.empty() && std::equal(reads.begin(), reads.end(), read.back().begin(), read.back().end());
    if (!read_alike) candidates.push_back({{before.begin(), before.end()}, {}});
    add_candidate(before, answer, candidates);
    if (read.size() < candidates.size()) read.emplace_back(reads.begin(), reads.end());
  }

  /// The options of a row, then its target.
  void add_row(const ScoredRows& rows, std::size_t i) {
    for (const auto& [prompt, answers] : rows.answers(i)) {
      for (const auto& answer : answers) add(prompt, answer, prompt);
    }
    const auto ids = std::span(rows.target(i).ids);
    const auto border = static_cast<std::size_t>(rows.target(i).target_begin);
    add(ids.first(border), ids.subspan(border), rows.source_ids(i));
  }
};

/// The rows of one task under one route.
class TaskRun {
 public:
  TaskRun(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router, std::string route,
          const EvaluateOptions& options)
      : inputs_(inputs),
        task_(task),
        router_(router),
        route_(std::move(route)),
        options_(options),
        rows_(inputs.model, inputs.tokenizer, task, options) {
    if (auto right = right_experts(); std::count(right.begin(), right.end(), 0.0f) > 0 && right.size() > 1 &&
                                      std::count(right.begin(), right.end(), 1.0f) > 0 && router.own_experts().empty())
      accuracy_.emplace(inputs.model, std::move(right));
  }

  Evaluation run() {
    for (std::size_t begin = 0; begin < rows_.size();) {
      const auto end = portion_end(begin);
      score(begin, end);
      begin = end;
      inputs_.progress.update("evaluate " + task_.name, begin, rows_.size(), route_);
    }
    inputs_.progress.finish();
    auto out = summarise(task_, route_, rows_, std::move(samples_), options_.seed);
    if (accuracy_) out.routing_accuracy_by_layer = accuracy_->by_layer();
    return out;
  }

 private:
  /// By expert number: 1 where it was trained on the task.
  std::vector<float> right_experts() const {
    std::vector<float> out;
    if (!inputs_.expert_tasks) return out;
    for (const auto& tasks : *inputs_.expert_tasks)
      out.push_back(std::find(tasks.begin(), tasks.end(), task_.name) != tasks.end() ? 1.0f : 0.0f);
    return out;
  }

  std::size_t portion_end(std::size_t begin) const {
    std::int64_t tokens = 0;
    std::size_t end = begin;
    while (end < rows_.size() && (end == begin || tokens < options_.batch_tokens))
      tokens += static_cast<std::int64_t>(rows_.target(end++).ids.size());
    return end;
  }

  /// Experts for these prompts of the task.
  model::BindExperts start(const std::vector<Ids>& prompts) const {
    std::vector<routing::Request> requests;
    for (const auto& ids : prompts) requests.push_back({task_.name, ids});
    return routing::bind_requests(router_, requests);
  }

  void score(std::size_t begin, std::size_t end) {
    std::vector<double> routed;
    const auto answers = score_answers(begin, end, routed);
    auto next = answers.begin();
    std::vector<std::size_t> to_generate;
    for (std::size_t i = begin; i < end; ++i) {
      const auto& example = rows_.example(i);
      const auto& choices = rows_.choices(i);
      Sample sample{task_.name, route_, example.source, example.target, "", {}};
      if (choices.empty()) {
        to_generate.push_back(i);
      } else {
        rank(i, {next, choices.size()}, sample);
        next += static_cast<std::ptrdiff_t>(choices.size());
      }
      QUIVER_CHECK(std::isfinite(next->log_likelihood), mismatch, "task " + task_.name,
                   "row {} has log-likelihood {} under {}: the model or an expert holds numbers that are not finite",
                   i + 1, next->log_likelihood, route_);
      sample.scores["target_log_likelihood"] = next->log_likelihood;
      sample.scores["target_tokens"] = next->tokens;
      ++next;
      if (!routed.empty()) sample.scores["routing_accuracy"] = routed[i - begin];
      samples_.push_back(std::move(sample));
    }
    generate_answers(to_generate);
  }

  /// Of each of the rows `begin` to `end`: its options, then its target. `routed` becomes each row's routing accuracy
  /// where that is measured.
  std::vector<Answer> score_answers(std::size_t begin, std::size_t end, std::vector<double>& routed) {
    Joined joined;
    std::vector<std::size_t> prompt_of_row;
    for (std::size_t i = begin; i < end; ++i) {
      joined.add_row(rows_, i);
      prompt_of_row.push_back(joined.candidates.size() - 1);
    }
    auto bind = start(joined.read);
    if (accuracy_) bind = accuracy_->listen(bind, joined.read.size());
    const auto values = score_candidates(inputs_.model, joined.candidates, bind);
    if (accuracy_) {
      const auto all = accuracy_->of_rows();
      for (const auto p : prompt_of_row) routed.push_back(all[p]);
    }
    std::vector<Answer> out;
    for (std::size_t p = 0; p < joined.candidates.size(); ++p) {
      for (std::size_t c = 0; c < values[p].size(); ++c)
        out.push_back({values[p][c], static_cast<double>(joined.candidates[p].candidates[c].size())});
    }
    return out;
  }

  void rank(std::size_t i, std::span<const Answer> answers, Sample& sample) const {
    const auto& options = rows_.choices(i);
    std::size_t best_mean = 0, best_sum = 0;
    for (std::size_t c = 1; c < options.size(); ++c) {
      if (answers[c].mean() > answers[best_mean].mean()) best_mean = c;
      if (answers[c].log_likelihood > answers[best_sum].log_likelihood) best_sum = c;
    }
    const auto right = rows_.example(i).right_answers();
    sample.prediction = options[best_mean];
    sample.scores["accuracy"] = exact_match(options[best_mean], right) ? 1.0 : 0.0;
    sample.scores["accuracy_sum"] = exact_match(options[best_sum], right) ? 1.0 : 0.0;
    if (!rows_.all_ranked()) score_text(right, sample);
  }

  static void score_text(const std::vector<std::string>& right, Sample& sample) {
    sample.scores["exact_match"] = exact_match(sample.prediction, right) ? 1.0 : 0.0;
    sample.scores["rouge_l"] = rouge_l_f1(sample.prediction, right);
  }

  /// Greedy answers for the rows in `wanted`, to the end of their first line or, where answers have several, to their
  /// ends.
  void generate_answers(const std::vector<std::size_t>& wanted) {
    if (wanted.empty()) return;
    std::vector<routing::Request> requests;
    for (const auto i : wanted) requests.push_back({task_.name, rows_.prompt(i)});
    serving::GenerateOptions options;
    options.max_new_tokens = options_.max_new_tokens;
    options.stop_tokens = rows_.ends();
    const auto on_token = [&](std::size_t, std::int32_t token) {
      return rows_.several_lines() || inputs_.tokenizer.piece_bytes(token).find('\n') == std::string::npos;
    };
    const auto answers = serving::generate(inputs_.model, requests, options, &router_, on_token);
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      auto& sample = samples_[wanted[k]];
      const auto text = inputs_.tokenizer.decode(answers[k].checked(), {true});
      sample.prediction = rows_.several_lines() ? strip(text) : first_line(text);
      score_text(rows_.example(wanted[k]).right_answers(), sample);
    }
  }

  const EvaluateInputs& inputs_;
  const data::Task& task_;
  const routing::Router& router_;
  std::string route_;
  const EvaluateOptions& options_;
  ScoredRows rows_;
  std::vector<Sample> samples_;
  std::optional<RoutingAccuracy> accuracy_;
};

}  // namespace

void describe(EvaluateOptions& o, OptionSet& set) {
  set.group("evaluation");
  set.choice("split", o.split,
             {{"train", data::Split::train}, {"validation", data::Split::validation}, {"test", data::Split::test}},
             "the rows that are scored");
  set.integer("limit", o.limit, at_least(0), "rows of each task; 0: all");
  set.integer("max_new_tokens", o.max_new_tokens, at_least(1), "of a generated answer");
  set.integer("rank_labels", o.label_limit, at_least(0),
              "rank a task without options among its training targets where they are at most so many; 0: generate");
  set.integer("seed", o.seed, at_least(0), "of the bootstrap");
}

Evaluation evaluate(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router,
                    const std::string& route, const EvaluateOptions& options) {
  return TaskRun(inputs, task, router, route, options).run();
}

}  // namespace quiver::evaluation
