// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/summary.h"

#include <algorithm>
#include <cmath>

namespace quiver::evaluation {
namespace {

using Samples = std::vector<Sample>;

/// A score by row; empty where not every row has it.
std::vector<double> scores_of(const Samples& samples, const std::string& name) {
  std::vector<double> out;
  for (const auto& sample : samples) {
    if (const auto found = sample.scores.find(name); found != sample.scores.end()) out.push_back(found->second);
  }
  return out.size() == samples.size() ? out : std::vector<double>();
}

/// exp of the mean loss over target tokens, each weighted as its row: what training's validation loss is of. Where no
/// row weighs anything all weigh the same.
Measured perplexity(const Samples& samples, const ScoredRows& rows) {
  std::vector<double> losses, tokens;
  const auto add = [&](std::size_t i, double weight) {
    losses.push_back(-weight * samples[i].scores.at("target_log_likelihood"));
    tokens.push_back(weight * samples[i].scores.at("target_tokens"));
  };
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (rows.example(i).weight > 0) add(i, rows.example(i).weight);
  }
  for (std::size_t i = 0; losses.empty() && i < samples.size(); ++i) add(i, 1.0);
  const auto units = losses.size();
  const auto of = [losses = std::move(losses), tokens = std::move(tokens)](std::span<const std::size_t> drawn) {
    double loss = 0.0, count = 0.0;
    for (const auto i : drawn) {
      loss += losses[i];
      count += tokens[i];
    }
    return std::exp(loss / count);
  };
  return {units, of, {}};
}

std::vector<Answered> answered(const Samples& samples, const ScoredRows& rows) {
  std::vector<Answered> out;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& example = rows.example(i);
    out.push_back({samples[i].prediction, example.target, example.right_answers(), example.group});
  }
  return out;
}

}  // namespace

Evaluation summarise(const data::Task& task, const std::string& route, const ScoredRows& rows, Samples samples,
                     std::uint64_t seed) {
  Evaluation out{{}, {}, {}, {}, rows.numbers(), rows.findings()};
  BootstrapOptions bootstrap;
  bootstrap.seed = seed;
  const auto add = [&](const std::string& metric, Measured measured) {
    const auto interval = interval_of(measured, bootstrap);
    ResultRow row;
    row.task = task.name;
    row.route = route;
    row.metric = metric;
    row.value = interval.mean;
    row.count = samples.size();
    row.low = interval.low;
    row.high = interval.high;
    out.results.push_back(row);
    out.measured.emplace(metric, std::move(measured));
  };
  const auto all = answered(samples, rows);
  for (const auto& metric : task.metrics) {
    if (!out.measured.contains(metric)) add(metric, measure(metric, all, "task " + task.name));
  }
  for (const auto* metric : {"accuracy", "accuracy_sum", "exact_match", "rouge_l", "routing_accuracy"}) {
    auto scores = scores_of(samples, metric);
    if (!scores.empty() && !out.measured.contains(metric)) add(metric, measured_mean(std::move(scores)));
  }
  add("perplexity", perplexity(samples, rows));
  out.samples = std::move(samples);
  return out;
}

const ResultRow& headline(const Evaluation& evaluation) { return evaluation.results.front(); }

std::vector<RouteDifference> differences_of(const Evaluation& first, const Evaluation& second, std::uint64_t seed) {
  std::vector<RouteDifference> out;
  if (first.rows != second.rows) return out;
  BootstrapOptions bootstrap;
  bootstrap.seed = seed;
  for (const auto& row : first.results) {
    const auto& measured = first.measured.at(row.metric);
    const auto other = second.measured.find(row.metric);
    if (other == second.measured.end()) continue;
    RouteDifference difference;
    difference.task = row.task;
    difference.metric = row.metric;
    difference.route = row.route;
    difference.against = headline(second).route;
    difference.difference = difference_of(measured, other->second, bootstrap);
    difference.count = row.count;
    difference.by_rows = !measured.scores.empty();
    difference.headline = row.metric == headline(first).metric;
    out.push_back(std::move(difference));
  }
  return out;
}

}  // namespace quiver::evaluation
