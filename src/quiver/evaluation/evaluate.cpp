// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/evaluate.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <span>

#include "quiver/base/error.h"
#include "quiver/evaluation/bootstrap.h"
#include "quiver/evaluation/candidates.h"
#include "quiver/evaluation/metrics.h"
#include "quiver/evaluation/routing_accuracy.h"
#include "quiver/evaluation/task_metrics.h"
#include "quiver/serving/generate.h"

namespace quiver::evaluation {
namespace {

using Ids = std::vector<std::int32_t>;

/// The rows of one task under one route.
class TaskRun {
 public:
  TaskRun(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router, std::string route,
          const EvaluateOptions& options)
      : inputs_(inputs), task_(task), router_(router), route_(std::move(route)), options_(options) {
    rows_ = task.rows(options.split);
    QUIVER_CHECK(!rows_.empty(), usage, "task " + task.name, "no rows of split '{}'", data::split_name(options.split));
    if (options.limit > 0 && rows_.size() > static_cast<std::size_t>(options.limit))
      rows_.resize(static_cast<std::size_t>(options.limit));
    labels_ = labels();
    if (auto right = own_experts(); std::count(right.begin(), right.end(), 0.0f) > 0 && right.size() > 1 &&
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
    return summarise();
  }

 private:
  /// By expert number: 1 where it was trained on the task.
  std::vector<float> own_experts() const {
    std::vector<float> out;
    if (!inputs_.expert_tasks) return out;
    for (const auto& tasks : *inputs_.expert_tasks)
      out.push_back(std::find(tasks.begin(), tasks.end(), task_.name) != tasks.end() ? 1.0f : 0.0f);
    return out;
  }

  const data::Example& example(std::size_t i) const { return task_.examples[rows_[i]]; }

  data::Encode encode() const {
    return [this](std::string_view text) { return inputs_.tokenizer.encode(text); };
  }

  /// Training targets to rank among, where the task lists no options itself and has few.
  std::vector<std::string> labels() const {
    std::set<std::string> distinct;
    if (options_.label_limit > 0 && example(0).options.empty()) {
      for (const auto i : task_.rows(data::Split::train)) distinct.insert(task_.examples[i].target);
    }
    if (distinct.size() > static_cast<std::size_t>(std::max<std::int64_t>(0, options_.label_limit))) return {};
    return {distinct.begin(), distinct.end()};
  }

  const std::vector<std::string>& choices(std::size_t i) const {
    return example(i).options.empty() ? labels_ : example(i).options;
  }

  Ids prompt(std::size_t i) const {
    auto ids = data::prompt_ids(example(i).source, encode(), options_.join);
    QUIVER_CHECK(!ids.empty(), format, "task " + task_.name, "row {} has an empty source", rows_[i]);
    return ids;
  }

  std::size_t portion_end(std::size_t begin) const {
    std::int64_t tokens = 0;
    std::size_t end = begin;
    while (end < rows_.size() && (end == begin || tokens < options_.batch_tokens)) {
      tokens += static_cast<std::int64_t>(example(end++).source.size() / 3 + 8);
    }
    return end;
  }

  /// Experts for these prompts of the task.
  model::BindExperts start(const std::vector<Ids>& prompts) const {
    std::vector<routing::Request> requests;
    for (const auto& ids : prompts) requests.push_back({task_.name, ids});
    return routing::bind_requests(router_, requests);
  }

  void score(std::size_t begin, std::size_t end) {
    std::vector<Ids> prompts;
    for (std::size_t i = begin; i < end; ++i) prompts.push_back(prompt(i));
    std::vector<double> routed;
    const auto answers = score_answers(begin, end, routed);
    auto next = answers.begin();
    std::vector<std::size_t> to_generate;
    for (std::size_t i = begin; i < end; ++i) {
      Sample sample{task_.name, route_, example(i).source, example(i).target, "", {}};
      if (choices(i).empty()) {
        to_generate.push_back(samples_.size());
      } else {
        rank(i, {next, choices(i).size()}, sample);
        next += static_cast<std::ptrdiff_t>(choices(i).size());
      }
      sample.scores["target_log_likelihood"] = next->log_likelihood;
      sample.scores["target_tokens"] = next->tokens;
      ++next;
      if (!routed.empty()) sample.scores["routing_accuracy"] = routed[i - begin];
      samples_.push_back(std::move(sample));
    }
    generate_answers(prompts, begin, to_generate);
  }

  struct Answer {
    double log_likelihood, tokens;
    double mean() const { return log_likelihood / tokens; }
  };

  /// Of each of the rows `begin` to `end`: its options, then its target. `routed` becomes each row's routing accuracy
  /// where that is measured.
  std::vector<Answer> score_answers(std::size_t begin, std::size_t end, std::vector<double>& routed) {
    auto target_rules = options_.join;
    target_rules.whole_sequence_loss = false;
    auto option_rules = target_rules;
    option_rules.append_eos = false;
    std::vector<PromptCandidates> joined;
    std::vector<std::size_t> prompt_of_row;
    for (std::size_t i = begin; i < end; ++i) {
      for (const auto& option : choices(i)) join_answer(i, option, option_rules, joined);
      join_answer(i, example(i).target, target_rules, joined);
      prompt_of_row.push_back(joined.size() - 1);
    }
    std::vector<Ids> prompts;
    for (const auto& j : joined) prompts.push_back(j.prompt);
    auto bind = start(prompts);
    if (accuracy_) bind = accuracy_->listen(bind, prompts.size());
    const auto values = score_candidates(inputs_.model, joined, bind);
    if (accuracy_) {
      const auto all = accuracy_->of_rows();
      for (const auto p : prompt_of_row) routed.push_back(all[p]);
    }
    std::vector<Answer> out;
    for (std::size_t p = 0; p < joined.size(); ++p) {
      for (std::size_t c = 0; c < values[p].size(); ++c)
        out.push_back({values[p][c], static_cast<double>(joined[p].candidates[c].size())});
    }
    return out;
  }

  /// Adds an answer to row i as a row of training. What stands before it is computed once for all answers in turn that
  /// share it; a token over the border, or a long answer that cuts the source, gives an answer its own.
  void join_answer(std::size_t i, const std::string& text, const data::JoinOptions& rules,
                   std::vector<PromptCandidates>& joined) const {
    QUIVER_CHECK(!data::separate(example(i).source, text, rules.separator).target.empty(), format, "task " + task_.name,
                 "row {} has an empty answer", rows_[i]);
    const auto row = data::join_texts(example(i).source, text, encode(), end_token(), rules);
    const auto border = row.ids.begin() + row.target_begin;
    Ids before(row.ids.begin(), border);
    if (joined.empty() || joined.back().prompt != before) joined.push_back({std::move(before), {}});
    joined.back().candidates.emplace_back(border, row.ids.end());
  }

  /// Refused where there is none to append, as in training.
  std::int32_t end_token() const {
    const auto& ends = inputs_.tokenizer.eos_ids();
    QUIVER_CHECK(!ends.empty() || !options_.join.append_eos, unsupported, "task " + task_.name,
                 "the tokenizer names no end-of-sequence token; give --no-eos");
    return ends.empty() ? -1 : ends[0];
  }

  void rank(std::size_t i, std::span<const Answer> answers, Sample& sample) const {
    const auto& options = choices(i);
    std::size_t best_mean = 0, best_sum = 0;
    for (std::size_t c = 1; c < options.size(); ++c) {
      if (answers[c].mean() > answers[best_mean].mean()) best_mean = c;
      if (answers[c].log_likelihood > answers[best_sum].log_likelihood) best_sum = c;
    }
    const auto right = references(i);
    sample.prediction = options[best_mean];
    sample.scores["accuracy"] = is_right(options[best_mean], right);
    sample.scores["accuracy_sum"] = is_right(options[best_sum], right);
  }

  static double is_right(const std::string& option, const std::vector<std::string>& right) {
    return std::find(right.begin(), right.end(), option) != right.end() ? 1.0 : 0.0;
  }

  std::vector<std::string> references(std::size_t i) const {
    return example(i).references.empty() ? std::vector<std::string>{example(i).target} : example(i).references;
  }

  /// Greedy answers to the end of their first line for the samples numbered in `wanted`, whose prompts start at row
  /// `begin`.
  void generate_answers(const std::vector<Ids>& prompts, std::size_t begin, const std::vector<std::size_t>& wanted) {
    if (wanted.empty()) return;
    std::vector<routing::Request> own;
    for (const auto s : wanted) own.push_back({task_.name, prompts[s - begin]});
    serving::GenerateOptions options;
    options.max_new_tokens = options_.max_new_tokens;
    options.stop_tokens = inputs_.tokenizer.eos_ids();
    const auto on_token = [&](std::size_t, std::int32_t token) {
      return inputs_.tokenizer.piece_bytes(token).find('\n') == std::string::npos;
    };
    const auto answers = serving::generate(inputs_.model, own, options, &router_, on_token);
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      auto& sample = samples_[wanted[k]];
      sample.prediction = first_line(inputs_.tokenizer.decode(answers[k].checked(), {true}));
      const auto right = references(wanted[k]);
      sample.scores["exact_match"] = exact_match(sample.prediction, right) ? 1.0 : 0.0;
      sample.scores["rouge_l"] = rouge_l_f1(sample.prediction, right);
    }
  }

  ResultRow row(const std::string& metric, double value, double low, double high) const {
    ResultRow out;
    out.task = task_.name;
    out.route = route_;
    out.metric = metric;
    out.value = value;
    out.count = samples_.size();
    out.low = low;
    out.high = high;
    return out;
  }

  void add_task_metrics(const BootstrapOptions& bootstrap, Evaluation& out) const {
    if (task_.metrics.empty()) return;
    std::vector<Answered> rows;
    for (std::size_t i = 0; i < samples_.size(); ++i)
      rows.push_back({samples_[i].prediction, example(i).target, references(i), example(i).group});
    for (const auto& metric : task_.metrics) {
      const auto interval = task_metric(metric, rows, bootstrap, "task " + task_.name);
      out.results.push_back(row(metric, interval.mean, interval.low, interval.high));
    }
  }

  Evaluation summarise() {
    Evaluation out;
    BootstrapOptions bootstrap;
    bootstrap.seed = options_.seed;
    add_task_metrics(bootstrap, out);
    for (const auto* metric : {"accuracy", "accuracy_sum", "exact_match", "rouge_l", "routing_accuracy"}) {
      std::vector<double> values;
      for (const auto& sample : samples_) {
        if (const auto found = sample.scores.find(metric); found != sample.scores.end())
          values.push_back(found->second);
      }
      if (values.size() != samples_.size()) continue;
      const auto interval = bootstrap_mean(values, bootstrap);
      out.results.push_back(row(metric, interval.mean, interval.low, interval.high));
    }
    double sum = 0.0, tokens = 0.0;
    std::vector<double> per_row;
    for (const auto& sample : samples_) {
      sum -= sample.scores.at("target_log_likelihood");
      tokens += sample.scores.at("target_tokens");
      per_row.push_back(-sample.scores.at("target_log_likelihood"));
    }
    // The interval resamples rows and keeps the number of tokens, which is close for rows of one task.
    const auto interval = bootstrap_mean(per_row, bootstrap);
    const double rows = static_cast<double>(samples_.size());
    out.results.push_back(row("perplexity", std::exp(sum / tokens), std::exp(interval.low * rows / tokens),
                              std::exp(interval.high * rows / tokens)));
    if (accuracy_) out.routing_accuracy_by_layer = accuracy_->by_layer();
    out.samples = std::move(samples_);
    return out;
  }

  const EvaluateInputs& inputs_;
  const data::Task& task_;
  const routing::Router& router_;
  std::string route_;
  const EvaluateOptions& options_;
  std::vector<std::size_t> rows_;
  std::vector<std::string> labels_;
  std::vector<Sample> samples_;
  std::optional<RoutingAccuracy> accuracy_;
};

}  // namespace

Evaluation evaluate(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router,
                    const std::string& route, const EvaluateOptions& options) {
  return TaskRun(inputs, task, router, route, options).run();
}

const ResultRow* headline(const std::vector<ResultRow>& results) {
  // What a task asks for comes first.
  for (const auto& row : results) {
    if (is_task_metric(row.metric)) return &row;
  }
  for (const auto* metric : {"accuracy", "exact_match", "perplexity"}) {
    for (const auto& row : results) {
      if (row.metric == metric) return &row;
    }
  }
  return nullptr;
}

}  // namespace quiver::evaluation
