// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/evaluate.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "quiver/base/error.h"
#include "quiver/evaluation/bootstrap.h"
#include "quiver/evaluation/candidates.h"
#include "quiver/evaluation/metrics.h"

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
  const data::Example& example(std::size_t i) const { return task_.examples[rows_[i]]; }

  Ids encode(std::string_view text) const { return inputs_.tokenizer.encode(text); }

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
    auto ids = data::prompt_ids(
        example(i).source, [this](std::string_view t) { return encode(t); }, options_.join);
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

  /// Experts for requests that are rows of this task.
  model::BindExperts bind() const {
    return [this](const model::PackedBatch& batch, const std::vector<std::size_t>& requests) {
      return router_.bind(batch, std::vector<std::string>(requests.size(), task_.name));
    };
  }

  void score(std::size_t begin, std::size_t end) {
    std::vector<PromptCandidates> prompts;
    for (std::size_t i = begin; i < end; ++i) {
      PromptCandidates p{prompt(i), {}};
      // The options as the model would continue the prompt, then the target with its end, for perplexity.
      for (const auto& option : choices(i)) p.candidates.push_back(answer(i, option));
      p.candidates.push_back(answer(i, example(i).target));
      p.candidates.back().push_back(inputs_.tokenizer.eos_ids().empty() ? 0 : inputs_.tokenizer.eos_ids()[0]);
      prompts.push_back(std::move(p));
    }
    const auto likelihoods = score_candidates(inputs_.model, prompts, bind());
    std::vector<std::size_t> to_generate;
    for (std::size_t i = begin; i < end; ++i) {
      Sample sample{task_.name, route_, example(i).source, example(i).target, "", {}};
      const auto& own = prompts[i - begin].candidates;
      const auto& values = likelihoods[i - begin];
      sample.scores["target_log_likelihood"] = values.back();
      sample.scores["target_tokens"] = static_cast<double>(own.back().size());
      if (choices(i).empty()) {
        to_generate.push_back(samples_.size());
      } else {
        rank(i, own, values, sample);
      }
      samples_.push_back(std::move(sample));
    }
    generate_answers(prompts, begin, to_generate);
  }

  Ids answer(std::size_t i, const std::string& text) const {
    auto ids = encode(data::separate(example(i).source, text, options_.join.separator).target);
    QUIVER_CHECK(!ids.empty(), format, "task " + task_.name, "row {} has an empty answer", rows_[i]);
    return ids;
  }

  void rank(std::size_t i, const std::vector<Ids>& candidates, const std::vector<double>& values,
            Sample& sample) const {
    const auto& options = choices(i);
    std::size_t best_mean = 0, best_sum = 0;
    const auto mean = [&](std::size_t c) { return values[c] / static_cast<double>(candidates[c].size()); };
    for (std::size_t c = 1; c < options.size(); ++c) {
      if (mean(c) > mean(best_mean)) best_mean = c;
      if (values[c] > values[best_sum]) best_sum = c;
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
  void generate_answers(const std::vector<PromptCandidates>& prompts, std::size_t begin,
                        const std::vector<std::size_t>& wanted) {
    if (wanted.empty()) return;
    std::vector<Ids> own;
    for (const auto s : wanted) own.push_back(prompts[s - begin].prompt);
    model::GenerateOptions options;
    options.max_new_tokens = options_.max_new_tokens;
    options.stop_tokens = inputs_.tokenizer.eos_ids();
    const auto on_token = [&](std::size_t, std::int32_t token) {
      return inputs_.tokenizer.piece_bytes(token).find('\n') == std::string::npos;
    };
    const auto answers = model::generate(inputs_.model, own, options, bind(), on_token);
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      auto& sample = samples_[wanted[k]];
      sample.prediction = first_line(inputs_.tokenizer.decode(answers[k], {true}));
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

  Evaluation summarise() {
    Evaluation out;
    BootstrapOptions bootstrap;
    bootstrap.seed = options_.seed;
    for (const auto* metric : {"accuracy", "accuracy_sum", "exact_match", "rouge_l"}) {
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
};

}  // namespace

Evaluation evaluate(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router,
                    const std::string& route, const EvaluateOptions& options) {
  return TaskRun(inputs, task, router, route, options).run();
}

const ResultRow* headline(const std::vector<ResultRow>& results) {
  for (const auto* metric : {"accuracy", "exact_match", "perplexity"}) {
    for (const auto& row : results) {
      if (row.metric == metric) return &row;
    }
  }
  return nullptr;
}

}  // namespace quiver::evaluation
