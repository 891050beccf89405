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
  double probability;  ///< by the softmax, times a constant
};

/// All tokens by their probabilities at a temperature, most likely first, of equal ones the lower id; put in order only
/// as far as they are asked for, for a draw seldom looks beyond the first hundreds of a vocabulary.
class Ranking {
 public:
  Ranking(std::span<const float> logits, double temperature) : all_(logits.size()), kept_(logits.size()) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    for (std::size_t i = 0; i < logits.size(); ++i)
      all_[i] = {static_cast<std::int32_t>(i), std::exp((logits[i] - largest) / temperature)};
  }

  void keep_first(std::size_t count) { kept_ = std::min(kept_, count); }
  void keep_top_p(double top_p) {
    const double enough = top_p * total();
    double sum = 0.0;
    std::size_t count = 0;
    while (count < kept_ && sum < enough) sum += at(count++).probability;
    kept_ = std::max<std::size_t>(1, count);
  }
  void keep_min_p(double min_p) {
    const double least = min_p * at(0).probability;
    std::size_t count = 1;
    while (count < kept_ && at(count).probability >= least) ++count;
    kept_ = count;
  }
  std::int32_t draw(Random& random) {
    double left = random.uniform() * total();
    for (std::size_t i = 0; i < kept_; ++i) {
      left -= at(i).probability;
      if (left < 0) return at(i).id;
    }
    return at(kept_ - 1).id;
  }

 private:
  /// Of those kept.
  double total() {
    if (kept_ < all_.size()) at(kept_ - 1);
    return std::accumulate(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(kept_), 0.0,
                           [](double sum, const Candidate& c) { return sum + c.probability; });
  }
  const Candidate& at(std::size_t place) {
    constexpr std::size_t kFirst = 256, kGrowth = 4;
    const auto before = [](const Candidate& a, const Candidate& b) {
      return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
    };
    while (place >= ordered_) {
      const auto next = std::min(all_.size(), std::max(kFirst, kGrowth * ordered_));
      const auto begin = all_.begin() + static_cast<std::ptrdiff_t>(ordered_),
                 end = all_.begin() + static_cast<std::ptrdiff_t>(next);
      if (end != all_.end()) std::nth_element(begin, end, all_.end(), before);
      std::sort(begin, end, before);
      ordered_ = next;
    }
    return all_[place];
  }

  std::vector<Candidate> all_;
  std::size_t kept_, ordered_ = 0;  ///< so many from the front
};

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
  Ranking ranking(logits, o.temperature);
  if (o.top_k > 0) ranking.keep_first(static_cast<std::size_t>(o.top_k));
  if (o.top_p < 1.0) ranking.keep_top_p(o.top_p);
  if (o.min_p > 0.0) ranking.keep_min_p(o.min_p);
  return ranking.draw(random);
}

}  // namespace quiver::model
