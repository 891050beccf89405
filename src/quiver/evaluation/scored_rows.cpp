// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/scored_rows.h"

#include <algorithm>
#include <map>
#include <memory>
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

/// The splits that a task has rows of, and how many.
std::string splits_of(const data::Task& task) {
  std::vector<std::string> out;
  for (const auto split : {data::Split::train, data::Split::validation, data::Split::test}) {
    if (const auto rows = task.rows(split).size(); rows > 0)
      out.push_back(fmt::format("{} ({})", data::split_name(split), rows));
  }
  return out.empty() ? "none at all" : quiver::join(out, ", ");
}

/// Remembers what it has encoded: the texts of one row, whose source stands before each of its answers.
data::Encode remembering(data::Encode encode) {
  auto known = std::make_shared<std::map<std::string, std::vector<std::int32_t>, std::less<>>>();
  return [known, encode = std::move(encode)](std::string_view text) {
    if (const auto found = known->find(text); found != known->end()) return found->second;
    return known->emplace(text, encode(text)).first->second;
  };
}

}  // namespace

std::string problem_of(const data::Task& task, const EvaluateOptions& options) {
  if (task.rows(options.split, 1).empty())
    return fmt::format("no rows of split '{}'; there are {}", data::split_name(options.split), splits_of(task));
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
  end_ = data::end_token(tokenizer, options.join, "task " + task.name);
  const auto context = model.config().max_positions - options.vectors_before;
  auto& longest = options_.join.max_tokens;
  longest = static_cast<std::int32_t>(std::min<std::int64_t>(longest, context));
  // At least half of the context is the prompt's. An encoder-decoder's answer stands in its other stack.
  const auto room = model.config().encoder_decoder() ? 0 : std::min(options.max_new_tokens, context / 2);
  prompt_tokens_ = static_cast<std::int32_t>(std::min<std::int64_t>(longest, context - room));

  const auto wanted = task.rows(options.split, options.limit);
  findings_ = {task.name, data::split_name(options.split), wanted.size()};
  data::look_at_texts(task, wanted, findings_);
  labels_ = labels(wanted);
  data::look_at_options(task, wanted, labels_, findings_);
  for (const auto row : wanted) add(row);
  QUIVER_CHECK(!rows_.empty(), format, "task " + task.name, "none of its {} rows can be scored; {}", wanted.size(),
               findings_.lines().back());
}

data::Encode ScoredRows::encode() const {
  return [this](std::string_view text) { return tokenizer_.encode(text); };
}

/// Training targets to rank among, where no row lists options and they are few.
std::vector<std::string> ScoredRows::labels(const std::vector<std::size_t>& wanted) const {
  const auto lists_options = [&](std::size_t row) { return !task_.examples[row].options.empty(); };
  if (options_.label_limit <= 0 || std::any_of(wanted.begin(), wanted.end(), lists_options)) return {};
  std::set<std::string> distinct;
  for (const auto i : task_.rows(data::Split::train)) distinct.insert(task_.examples[i].target);
  if (distinct.size() > static_cast<std::size_t>(options_.label_limit)) return {};
  return {distinct.begin(), distinct.end()};
}

void ScoredRows::add(std::size_t row) {
  const auto& example = task_.examples[row];
  const bool ranked = !choices_of(example).empty();
  try {
    auto all = joined(example);
    if (!ranked) all.prompt = prompt_of(row);
    joined_.push_back(std::move(all));
  } catch (const Error& error) {
    findings_.add(data::RowFinding::left_out, task_, row, error.what());
    return;
  }
  rows_.push_back(row);
  data::look_at_cuts(task_, row, joined_.back().target, findings_);
  if (ranked) ++ranked_;
}

ScoredRows::JoinedRow ScoredRows::joined(const data::Example& example) const {
  const auto encode = remembering(this->encode());
  JoinedRow out;
  out.target = data::join_example(example, encode, end_, options_.join);
  out.source_tokens = out.target.target_begin;
  if (options_.join.whole_sequence_loss) {
    auto rules = options_.join;
    rules.whole_sequence_loss = false;
    const bool bare = example.target.empty() && !rules.append_eos;
    out.source_tokens = bare ? static_cast<std::int32_t>(out.target.ids.size())
                             : data::join_example(example, encode, end_, rules).target_begin;
  }
  out.answers = answers_of(example, encode);
  return out;
}

std::vector<PromptCandidates> ScoredRows::answers_of(const data::Example& example, const data::Encode& encode) const {
  const auto& choices = choices_of(example);
  auto rules = options_.join;
  rules.whole_sequence_loss = false;
  // Where one choice has no tokens, all are scored with their ends.
  if (std::find(choices.begin(), choices.end(), "") == choices.end()) rules.append_eos = false;
  std::vector<PromptCandidates> out;
  for (const auto& text : choices) {
    const auto row = data::join_answer(example, text, encode, end_, rules);
    const auto border = static_cast<std::size_t>(row.target_begin);
    add_candidate(std::span(row.ids).first(border), std::span(row.ids).subspan(border), out);
  }
  return out;
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

const std::vector<std::string>& ScoredRows::choices_of(const data::Example& example) const {
  return example.options.empty() ? labels_ : example.options;
}

std::vector<std::int32_t> ScoredRows::ends() const {
  auto out = tokenizer_.eos_ids();
  const bool chats =
      std::any_of(rows_.begin(), rows_.end(), [&](auto i) { return !task_.examples[i].chat_ids.empty(); });
  if (chats && options_.join.turn_end_token >= 0) out.push_back(options_.join.turn_end_token);
  return out;
}

}  // namespace quiver::evaluation
