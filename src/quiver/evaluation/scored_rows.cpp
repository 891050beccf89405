// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/scored_rows.h"

#include <algorithm>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/join_task.h"
#include "quiver/evaluation/unicode_text.h"

namespace quiver::evaluation {
namespace {

bool has_several_lines(const data::Task& task) {
  const auto broken = [](const std::string& text) { return strip(text).find('\n') != std::string::npos; };
  return std::any_of(task.examples.begin(), task.examples.end(), [&](const auto& example) {
    const auto right = example.right_answers();
    return example.options.empty() && std::any_of(right.begin(), right.end(), broken);
  });
}

/// Refused where there is none to append, as in training.
std::int32_t end_token(const text::Tokenizer& tokenizer, const data::Task& task, const data::JoinOptions& join) {
  const auto& ends = tokenizer.eos_ids();
  QUIVER_CHECK(!ends.empty() || !join.append_eos, unsupported, "task " + task.name,
               "the tokenizer names no end-of-sequence token; give --no-eos");
  return ends.empty() ? -1 : ends[0];
}

}  // namespace

std::string problem_of(const data::Task& task, const EvaluateOptions& options) {
  if (task.rows(options.split, 1).empty()) return fmt::format("no rows of split '{}'", data::split_name(options.split));
  for (const auto& metric : task.metrics) {
    if (!is_task_metric(metric))
      return fmt::format("unknown metric '{}'{}", metric, suggestion(metric, task_metric_names()));
  }
  return "";
}

ScoredRows::ScoredRows(const model::Model& model, const text::Tokenizer& tokenizer, const data::Task& task,
                       const EvaluateOptions& options)
    : tokenizer_(tokenizer),
      task_(task),
      options_(options),
      several_lines_(has_several_lines(task)),
      findings_(task.name, data::split_name(options.split), 0) {
  const auto problem = problem_of(task, options);
  QUIVER_CHECK(problem.empty(), usage, "task " + task.name, "{}", problem);
  data::check(options.join);
  end_ = end_token(tokenizer, task, options.join);
  const auto context = model.config().max_positions - options.vectors_before;
  auto& longest = options_.join.max_tokens;
  longest = static_cast<std::int32_t>(std::min<std::int64_t>(longest, context));
  // At least half of the context is the prompt's. An encoder-decoder's answer stands in its other stack.
  const auto room = model.config().encoder_decoder() ? 0 : std::min(options.max_new_tokens, context / 2);
  prompt_tokens_ = static_cast<std::int32_t>(std::min<std::int64_t>(longest, context - room));

  const auto wanted = task.rows(options.split, options.limit);
  findings_ = {task.name, data::split_name(options.split), wanted.size()};
  data::look_at_texts(task, wanted, findings_);
  data::look_at_options(task, wanted, findings_);
  labels_ = labels(wanted.front());
  for (const auto row : wanted) join(row);
  QUIVER_CHECK(!rows_.empty(), format, "task " + task.name, "none of its {} rows can be scored; {}", wanted.size(),
               findings_.lines().back());
}

data::Encode ScoredRows::encode() const {
  return [this](std::string_view text) { return tokenizer_.encode(text); };
}

/// Training targets to rank among, where the task lists no options itself and has few.
std::vector<std::string> ScoredRows::labels(std::size_t first_row) const {
  std::set<std::string> distinct;
  if (options_.label_limit > 0 && task_.examples[first_row].options.empty()) {
    for (const auto i : task_.rows(data::Split::train)) distinct.insert(task_.examples[i].target);
  }
  if (distinct.size() > static_cast<std::size_t>(std::max<std::int64_t>(0, options_.label_limit))) return {};
  return {distinct.begin(), distinct.end()};
}

void ScoredRows::join(std::size_t row) {
  const auto& example = task_.examples[row];
  rows_.push_back(row);
  const auto i = rows_.size() - 1;
  try {
    auto target = data::join_example(example, encode(), end_, options_.join);
    for (const auto& text : choices(i)) choice(i, text);
    prompts_.push_back(choices(i).empty() ? prompt_of(row) : std::vector<std::int32_t>());
    targets_.push_back(std::move(target));
  } catch (const Error& error) {
    rows_.pop_back();
    findings_.add(data::RowFinding::left_out, task_, row, error.what());
    return;
  }
  data::look_at_cuts(task_, row, targets_.back(), findings_);
  if (!choices(i).empty()) ++ranked_;
}

/// A prompt that is answered has room for its answer.
std::vector<std::int32_t> ScoredRows::prompt_of(std::size_t row) {
  const auto& example = task_.examples[row];
  auto rules = options_.join;
  auto ids = data::prompt_ids(example, encode(), rules);
  QUIVER_CHECK(!ids.empty(), unsupported, "prompt",
               "its source is empty, and the tokenizer names no token to begin with");
  if (static_cast<std::int32_t>(ids.size()) > prompt_tokens_) {
    findings_.add(data::RowFinding::prompt_cut, task_, row,
                  fmt::format("{} tokens are left of {}", prompt_tokens_, ids.size()));
    rules.max_tokens = prompt_tokens_;
    ids = data::prompt_ids(example, encode(), rules);
  }
  const auto tokens = static_cast<std::int64_t>(encode()(example.target).size());
  if (tokens > options_.max_new_tokens)
    findings_.add(data::RowFinding::long_answer, task_, row, fmt::format("{} tokens", tokens));
  return ids;
}

const std::vector<std::string>& ScoredRows::choices(std::size_t i) const {
  return example(i).options.empty() ? labels_ : example(i).options;
}

std::vector<std::int32_t> ScoredRows::source_ids(std::size_t i) const {
  auto rules = options_.join;
  rules.whole_sequence_loss = false;
  const auto row = data::join_example(example(i), encode(), end_, rules);
  return {row.ids.begin(), row.ids.begin() + row.target_begin};
}

std::vector<std::int32_t> ScoredRows::ends() const {
  auto out = tokenizer_.eos_ids();
  const bool chats =
      std::any_of(rows_.begin(), rows_.end(), [&](auto i) { return !task_.examples[i].chat_ids.empty(); });
  if (chats && options_.join.turn_end_token >= 0) out.push_back(options_.join.turn_end_token);
  return out;
}

data::TokenRow ScoredRows::choice(std::size_t i, const std::string& text) const {
  const auto& all = choices(i);
  auto rules = options_.join;
  rules.whole_sequence_loss = false;
  // Where one choice has no tokens, all are scored with their ends.
  if (std::find(all.begin(), all.end(), "") == all.end()) rules.append_eos = false;
  return data::join_answer(example(i), text, encode(), end_, rules);
}

}  // namespace quiver::evaluation
