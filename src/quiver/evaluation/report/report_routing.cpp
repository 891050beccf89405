// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report_routing.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"

namespace quiver::evaluation {
namespace {

std::vector<ExpertShare> sorted_shares(const std::vector<double>& weight_sums, double mixes) {
  std::vector<ExpertShare> shares;
  for (std::size_t expert = 0; expert < weight_sums.size(); ++expert) {
    shares.push_back({expert, mixes > 0 ? weight_sums[expert] / mixes : 0});
  }
  std::stable_sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  return shares;
}

}  // namespace

void check_trace(const Trace& trace) {
  const std::string where = "trace";
  QUIVER_CHECK(trace.weights.size() == trace.layers.size(), mismatch, where, "expected weights of {} layers, came {}",
               trace.layers.size(), trace.weights.size());
  for (const auto& layer : trace.weights) {
    QUIVER_CHECK(layer.size() == trace.tokens.size(), mismatch, where, "expected weights of {} tokens, came {}",
                 trace.tokens.size(), layer.size());
    for (const auto& mix : layer) {
      for (const auto& entry : mix) {
        QUIVER_CHECK(entry.expert < trace.experts.size(), mismatch, where, "expected an expert below {}, came {}",
                     trace.experts.size(), entry.expert);
        QUIVER_CHECK(std::isfinite(entry.weight), mismatch, where, "expected finite weights, came {}", entry.weight);
      }
    }
  }
}

std::vector<ExpertShare> expert_shares(const Trace& trace) {
  std::vector<double> sums(trace.experts.size(), 0);
  for (const auto& layer : trace.weights) {
    for (const auto& mix : layer) {
      for (const auto& entry : mix) sums[entry.expert] += entry.weight;
    }
  }
  return sorted_shares(sums, static_cast<double>(trace.layers.size() * trace.tokens.size()));
}

std::vector<ExpertShare> token_shares(const Trace& trace, std::size_t token) {
  std::vector<double> sums(trace.experts.size(), 0);
  for (const auto& layer : trace.weights) {
    for (const auto& entry : layer[token]) sums[entry.expert] += entry.weight;
  }
  auto shares = sorted_shares(sums, static_cast<double>(trace.layers.size()));
  std::erase_if(shares, [](const auto& share) { return share.share <= 0; });
  return shares;
}

const TraceEntry* strongest(const std::vector<TraceEntry>& mix) {
  const auto best = std::max_element(mix.begin(), mix.end(), [](auto& a, auto& b) { return a.weight < b.weight; });
  return best == mix.end() ? nullptr : &*best;
}

}  // namespace quiver::evaluation
