// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/task_metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/evaluation/metrics.h"
#include "quiver/evaluation/unicode_text.h"

namespace quiver::evaluation {
namespace {

using Rows = std::vector<Answered>;
using Drawn = std::span<const std::size_t>;

using RowMetric = double (*)(std::string_view prediction, const std::vector<std::string>& references);

Measured mean_of(const Rows& rows, RowMetric metric) {
  std::vector<double> scores;
  for (const auto& row : rows) scores.push_back(metric(row.prediction, row.references));
  return measured_mean(std::move(scores));
}

double exact(std::string_view prediction, const std::vector<std::string>& references) {
  return exact_match(prediction, references) ? 1.0 : 0.0;
}

/// Resamples are drawn over numbered answers, so that no text is compared in them.
Measured matthews(const Rows& rows) {
  std::map<std::string, std::size_t> number;
  std::vector<std::size_t> predicted, wanted;
  for (const auto& row : rows) {
    predicted.push_back(number.emplace(strip(row.prediction), number.size()).first->second);
    wanted.push_back(number.emplace(strip(row.target), number.size()).first->second);
  }
  const auto statistic = [predicted, wanted, classes = number.size()](Drawn drawn) {
    std::vector<double> of_predicted(classes, 0.0), of_wanted(classes, 0.0);
    double right = 0, both = 0, predicted_squares = 0, wanted_squares = 0;
    for (const auto i : drawn) {
      ++of_predicted[predicted[i]];
      ++of_wanted[wanted[i]];
      right += predicted[i] == wanted[i];
    }
    for (std::size_t k = 0; k < classes; ++k) {
      both += of_predicted[k] * of_wanted[k];
      predicted_squares += of_predicted[k] * of_predicted[k];
      wanted_squares += of_wanted[k] * of_wanted[k];
    }
    const auto n = static_cast<double>(drawn.size());
    const double variances = (n * n - predicted_squares) * (n * n - wanted_squares);
    return variances > 0 ? (right * n - both) / std::sqrt(variances) : 0.0;
  };
  return {rows.size(), statistic, {}};
}

double number_of(const std::string& text) {
  const auto trimmed = strip(text);
  double value = 0;
  const auto [end, error] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), value);
  return error == std::errc{} && end == trimmed.data() + trimmed.size() && std::isfinite(value) ? value : -1;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0.0;
}

/// Places in ascending order, from 1; equal values share the mean of theirs.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    auto end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (auto k = begin; k < end; ++k) out[order[k]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return out;
}

enum class Of { values, ranks };

Measured correlated(const Rows& rows, Of of) {
  std::vector<double> predicted, wanted;
  for (const auto& row : rows) {
    predicted.push_back(number_of(row.prediction));
    wanted.push_back(number_of(row.target));
  }
  const auto statistic = [predicted, wanted, of](Drawn drawn) {
    std::vector<double> a, b;
    for (const auto i : drawn) {
      a.push_back(predicted[i]);
      b.push_back(wanted[i]);
    }
    return of == Of::values ? correlation(a, b) : correlation(ranks(a), ranks(b));
  };
  return {rows.size(), statistic, {}};
}

Measured true_f1(const Rows& rows) {
  std::vector<char> predicted, wanted;
  for (const auto& row : rows) {
    const auto said = strip(row.prediction);
    const bool right = strip(row.target) == "True", valid = said == "True" || said == "False";
    wanted.push_back(right);
    predicted.push_back(valid ? said == "True" : !right);
  }
  const auto statistic = [predicted, wanted](Drawn drawn) {
    double both = 0, either = 0;
    for (const auto i : drawn) {
      both += predicted[i] && wanted[i];
      either += predicted[i] + wanted[i];
    }
    return either > 0 ? 2 * both / either : 0.0;
  };
  return {rows.size(), statistic, {}};
}

Measured group_em(const Rows& rows) {
  std::map<std::string, double> of_group;
  std::vector<double> scores;
  for (const auto& row : rows) {
    const double right = exact(row.prediction, {row.target});
    if (row.group.empty()) {
      scores.push_back(right);
    } else {
      const auto [found, is_new] = of_group.emplace(row.group, right);
      found->second = std::min(found->second, right);
    }
  }
  for (const auto& [group, right] : of_group) scores.push_back(right);
  return measured_mean(std::move(scores));
}

struct TaskMetric {
  std::string_view name;
  Measured (*of)(const Rows& rows);
};

constexpr TaskMetric kMetrics[] = {{"exact_match", [](const Rows& r) { return mean_of(r, exact); }},
                                   {"accuracy", [](const Rows& r) { return mean_of(r, exact); }},
                                   {"rouge_l", [](const Rows& r) { return mean_of(r, rouge_l_f1); }},
                                   {"squad_em", [](const Rows& r) { return mean_of(r, squad_exact_match); }},
                                   {"squad_f1", [](const Rows& r) { return mean_of(r, squad_f1); }},
                                   {"matthews", matthews},
                                   {"pearson", [](const Rows& r) { return correlated(r, Of::values); }},
                                   {"spearman", [](const Rows& r) { return correlated(r, Of::ranks); }},
                                   {"true_f1", true_f1},
                                   {"group_em", group_em}};

}  // namespace

Measured measured_mean(std::vector<double> scores) {
  const auto mean = [scores](Drawn drawn) {
    double sum = 0.0;
    for (const auto i : drawn) sum += scores[i];
    return sum / static_cast<double>(drawn.size());
  };
  const auto units = scores.size();
  return {units, mean, std::move(scores)};
}

bool is_task_metric(std::string_view name) {
  return std::any_of(std::begin(kMetrics), std::end(kMetrics), [&](const auto& metric) { return metric.name == name; });
}

std::vector<std::string> task_metric_names() {
  std::vector<std::string> out;
  for (const auto& metric : kMetrics) out.emplace_back(metric.name);
  return out;
}

Measured measure(std::string_view name, const std::vector<Answered>& rows, const std::string& where) {
  QUIVER_CHECK(!rows.empty(), usage, where, "expected rows to score by {}, came none", name);
  for (const auto& metric : kMetrics) {
    if (metric.name == name) return metric.of(rows);
  }
  fail(ErrorCode::format, where, "unknown metric '{}'{}", name, suggestion(name, task_metric_names()));
}

Interval interval_of(const Measured& measured, const BootstrapOptions& bootstrap) {
  return measured.scores.empty() ? bootstrap_statistic(measured.units, measured.of, bootstrap)
                                 : bootstrap_mean(measured.scores, bootstrap);
}

PairedDifference difference_of(const Measured& first, const Measured& second, const BootstrapOptions& bootstrap) {
  if (!first.scores.empty() && !second.scores.empty())
    return bootstrap_difference(first.scores, second.scores, bootstrap);
  QUIVER_CHECK(first.units == second.units, mismatch, "bootstrap", "expected pairs, came {} and {} rows", first.units,
               second.units);
  const auto difference = [&](Drawn drawn) { return first.of(drawn) - second.of(drawn); };
  return {bootstrap_statistic(first.units, difference, bootstrap), 0, 0, 1.0};
}

}  // namespace quiver::evaluation
