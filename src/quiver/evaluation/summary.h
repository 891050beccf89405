// SPDX-License-Identifier: Apache-2.0
// Scored rows as the figures of their task, and two routes' figures compared.
#pragma once

#include <string>
#include <vector>

#include "quiver/evaluation/evaluate.h"
#include "quiver/evaluation/scored_rows.h"

namespace quiver::evaluation {

/// The results of one task under one route, headline first, perplexity last.
Evaluation summarise(const data::Task& task, const std::string& route, const ScoredRows& rows,
                     std::vector<Sample> samples, std::uint64_t seed);

/// One metric of a task under two routes, over the same rows.
struct RouteDifference {
  std::string task, metric;
  std::string route, against;   ///< first minus second
  PairedDifference difference;  ///< rows (groups) drawn as pairs
  std::size_t count = 0;        ///< rows
  bool by_rows = false;         ///< wins, losses and the sign test are there
  bool headline = false;        ///< of the task
};

/// Of every metric that both have. Empty where they are not over the same rows.
std::vector<RouteDifference> differences_of(const Evaluation& first, const Evaluation& second, std::uint64_t seed);

}  // namespace quiver::evaluation
