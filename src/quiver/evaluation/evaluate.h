// SPDX-License-Identifier: Apache-2.0
// Scoring tasks under routes.
//
// Answers are joined to their sources as rows of training are (data/join.h), under the same options and limits; the
// tokens that training would learn are scored, a row's weight counting as it does in training's loss.
//
// A task whose examples list options is ranked: each option's log-likelihood after the prompt, per token (`accuracy`)
// and summed (`accuracy_sum`), end-of-sequence not counted (but where an option is empty), the first option winning
// ties. Other tasks are generated greedily: `exact_match`, `rouge_l`; to the end of the first line, or, where right
// answers of the task have several lines, to the end that the model writes. Where only some rows list options, all are
// scored by `exact_match`, answers being ranked where there are options. White space at the ends of answers, options
// and references is passed over. Metrics that the task asks for by name (task_metrics.h) are of these answers, the
// first of them its headline. Every task also gets `perplexity` of its targets, end-of-sequence included where it is
// appended, or of whole rows where join.whole_sequence_loss says so. A prompt is computed once; its options continue
// from its keys and values. Prompts keep room for their answers in the model's context.
//
// Where some expert was trained on a task, its routing accuracy is the share of its prompts' tokens, over all sites,
// whose heaviest expert is one of those (ties share): what a classifier of tasks would be judged by.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/data/row_findings.h"
#include "quiver/data/task.h"
#include "quiver/evaluation/report/report.h"
#include "quiver/evaluation/task_metrics.h"
#include "quiver/model/bind_experts.h"
#include "quiver/routing/router.h"
#include "quiver/text/tokenizer.h"

namespace quiver::evaluation {

struct EvaluateOptions {
  data::Split split = data::Split::test;
  std::int64_t limit = 0;            ///< the first N rows of each task; 0: all
  data::JoinOptions join;            ///< those that the experts were trained with
  std::int64_t vectors_before = 0;   ///< that experts read before a prompt: they take places in the model's context
  std::int64_t max_new_tokens = 64;  ///< of a generated answer
  std::int64_t batch_tokens = 2048;  ///< of rows that are computed at once; memory grows with it
  /// A task none of whose scored rows lists options, and whose training rows have at most this many different targets,
  /// is ranked among them. 0: never.
  std::int64_t label_limit = 0;
  std::uint64_t seed = 0;  ///< of the bootstrap
};
/// What a user may choose, but for `join`: split, limit, max_new_tokens, rank_labels, seed.
void describe(EvaluateOptions& options, OptionSet& set);

/// One scored row, for --samples.
struct Sample {
  std::string task, route, source, target, prediction;
  std::map<std::string, double> scores;
};

struct Evaluation {
  std::vector<ResultRow> results;                 ///< the headline first
  std::map<std::string, Measured> measured;       ///< by metric, to compare with another route's over the same rows
  std::vector<double> routing_accuracy_by_layer;  ///< empty where it is not measured
  std::vector<Sample> samples;
  std::vector<std::size_t> rows;  ///< numbers of the examples that were scored
  data::RowFindings findings;
};

struct EvaluateInputs {
  model::Model model;
  const text::Tokenizer& tokenizer;
  Progress& progress;
  /// Tasks of each expert, by expert number; null: routing accuracy is not measured.
  const std::vector<std::vector<std::string>>* expert_tasks = nullptr;
};

/// Why a task cannot be scored under any route, from its text alone: no rows of the split, a metric that there is not;
/// empty where it can.
std::string problem_of(const data::Task& task, const EvaluateOptions& options);

/// The rows of `task` under `router`, called `route` in the results. Rows that cannot be joined are left out and
/// counted in the findings. Throws Error as `problem_of` says, where no row can be joined, and Error{unsupported} where
/// an end is to be appended and the tokenizer names none.
Evaluation evaluate(const EvaluateInputs& inputs, const data::Task& task, const routing::Router& router,
                    const std::string& route, const EvaluateOptions& options);

/// The one number of a task and route: the metric that the task asks for first, else accuracy or exact_match.
const ResultRow& headline(const Evaluation& evaluation);

}  // namespace quiver::evaluation
