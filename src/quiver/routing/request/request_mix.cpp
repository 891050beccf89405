// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/request_mix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quiver/routing/described.h"

namespace quiver::routing {

void describe(RequestMixOptions& o, OptionSet& set) {
  describe_count(set, "top_k", o.top_k, "experts of a prompt");
  describe_temperature(set, o.temperature, "of the softmax over those kept");
  set.number("floor", o.floor, any_number(), "the base model, where even the best score is lower")
      .shown_default("none");
}

std::vector<ops::ExpertWeight> pairs_of(const std::vector<double>& scores, const RequestMixOptions& options) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
  if (order.empty() || scores[order[0]] < options.floor) return {};
  if (options.top_k > 0 && order.size() > static_cast<std::size_t>(options.top_k))
    order.resize(static_cast<std::size_t>(options.top_k));
  std::vector<double> weights;
  double sum = 0.0;
  for (const auto e : order) weights.push_back(std::exp((scores[e] - scores[order[0]]) / options.temperature));
  for (auto& w : weights) sum += (w = w >= kNegligible ? w : 0.0);  // the best's is 1
  std::vector<ops::ExpertWeight> out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (weights[i] > 0.0) out.emplace_back(static_cast<std::int64_t>(order[i]), static_cast<float>(weights[i] / sum));
  }
  return out;
}

}  // namespace quiver::routing
