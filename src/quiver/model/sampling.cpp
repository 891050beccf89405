// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

void penalise(std::span<float> logits, std::span<const std::int32_t> context, double penalty) {
  if (penalty == 1.0) return;
  for (const auto id : std::set<std::int32_t>(context.begin(), context.end())) {
    auto& logit = logits[static_cast<std::size_t>(id)];
    logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
}

struct Candidate {
  std::int32_t id;
  double probability;
};

/// All tokens, most likely first, with softmax probabilities at the temperature.
std::vector<Candidate> ranked(std::span<const float> logits, double temperature) {
  std::vector<Candidate> out(logits.size());
  const double largest = *std::max_element(logits.begin(), logits.end());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    out[i] = {static_cast<std::int32_t>(i), std::exp((logits[i] - largest) / temperature)};
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.probability > b.probability; });
  return out;
}

double total(const std::vector<Candidate>& c) {
  return std::accumulate(c.begin(), c.end(), 0.0, [](double sum, const Candidate& x) { return sum + x.probability; });
}

void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  const double enough = top_p * total(candidates);
  double sum = 0.0;
  std::size_t kept = 0;
  while (kept < candidates.size() && sum < enough) sum += candidates[kept++].probability;
  candidates.resize(std::max<std::size_t>(1, kept));
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  const double least = min_p * candidates.front().probability;
  while (candidates.size() > 1 && candidates.back().probability < least) candidates.pop_back();
}

}  // namespace

void describe(SamplingOptions& o, OptionSet& set) {
  set.group("Sampling")
      .number("temperature", o.temperature, at_least(0), "0: the most likely token each time")
      .integer("top_k", o.top_k, at_least(0), "sample among the k most likely")
      .word("all", 0)
      .number("top_p", o.top_p, {.low = 0, .high = 1, .above_low = true},
              "... among the fewest that have this probability together")
      .number("min_p", o.min_p, between(0, 1), "... among those with this share of the largest probability")
      .number("repetition_penalty", o.repetition_penalty, above(0), "above 1: tokens that came before are less likely");
}

void check(const SamplingOptions& options) {
  auto o = options;
  OptionSet set;
  describe(o, set);
  check_ranges(set);
  const auto read = [&](bool neutral, const char* option, double value) {
    QUIVER_CHECK(o.temperature > 0 || neutral, usage, option, "{}, which is read only at a --temperature above 0",
                 value);
  };
  read(o.top_k <= 1, "--top-k", static_cast<double>(o.top_k));
  read(o.top_p == 1, "--top-p", o.top_p);
  read(o.min_p == 0, "--min-p", o.min_p);
}

std::int32_t sample(std::span<float> logits, std::span<const std::int32_t> context, const SamplingOptions& o,
                    Random& random) {
  penalise(logits, context, o.repetition_penalty);
  const auto largest = std::max_element(logits.begin(), logits.end());
  QUIVER_CHECK(std::isfinite(*largest), mismatch, "model",
               "the logits of the next token are {}: the model or an expert in use holds numbers that are not finite",
               *largest);
  if (o.temperature == 0.0) return static_cast<std::int32_t>(largest - logits.begin());
  auto candidates = ranked(logits, o.temperature);
  if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < candidates.size())
    candidates.resize(static_cast<std::size_t>(o.top_k));
  if (o.top_p < 1.0) keep_top_p(candidates, o.top_p);
  if (o.min_p > 0.0) keep_min_p(candidates, o.min_p);
  double left = random.uniform() * total(candidates);
  for (const auto& candidate : candidates) {
    left -= candidate.probability;
    if (left < 0) return candidate.id;
  }
  return candidates.back().id;
}

}  // namespace quiver::model
