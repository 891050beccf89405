// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/beam_search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "quiver/base/error.h"

namespace quiver::serving {

BeamSearch::BeamSearch(const GenerateOptions& options, std::vector<std::int32_t> before, std::int64_t longest)
    : options_(options), before_(std::move(before)), longest_(longest), running_(1) {}

std::vector<BeamSearch::Continuation> BeamSearch::step(const at::Tensor& logits) {
  auto next = choose(best(sums(logits)));
  if (next.empty() || settled(next)) return {};
  std::vector<Running> chosen;
  for (const auto& c : next) {
    chosen.push_back({running_[c.parent].ids, c.sum});
    chosen.back().ids.push_back(c.token);
  }
  running_ = std::move(chosen);
  return next;
}

/// Float64 [running beams, V]: the beams' sums, were each token the next.
at::Tensor BeamSearch::sums(const at::Tensor& logits) const {
  auto out = at::log_softmax(logits.to(at::kDouble), 1).contiguous();
  const double penalty = options_.sampling.repetition_penalty;
  for (std::size_t b = 0; b < running_.size(); ++b) {
    auto* own = out.data_ptr<double>() + static_cast<std::int64_t>(b) * out.size(1);
    if (penalty != 1.0) {
      std::set<std::int32_t> seen(before_.begin(), before_.end());
      seen.insert(running_[b].ids.begin(), running_[b].ids.end());
      for (const auto id : seen) own[id] = own[id] < 0 ? own[id] * penalty : own[id] / penalty;
    }
    for (std::int64_t v = 0; v < out.size(1); ++v) own[v] += running_[b].sum;
  }
  return out;
}

std::vector<BeamSearch::Continuation> BeamSearch::best(const at::Tensor& sums) const {
  const auto vocabulary = sums.size(1);
  const auto kept = std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(options_.stop_tokens.size()));
  const auto [values, places] = at::topk(sums.reshape({-1}), std::min(kept * options_.beams, sums.numel()));
  QUIVER_CHECK(std::isfinite(values.const_data_ptr<double>()[0]), mismatch, "model",
               "the logits of the next token are not finite: the model or an expert in use holds such numbers");
  std::vector<Continuation> out;
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const auto place = places.const_data_ptr<std::int64_t>()[i];
    out.push_back({static_cast<std::size_t>(place / vocabulary), static_cast<std::int32_t>(place % vocabulary),
                   values.const_data_ptr<double>()[i]});
  }
  return out;
}

/// Those that go on; those that end, among the first `beams`, are finished.
std::vector<BeamSearch::Continuation> BeamSearch::choose(const std::vector<Continuation>& best) {
  std::vector<Continuation> next;
  const auto limit = static_cast<std::size_t>(options_.beams);
  for (std::size_t i = 0; i < best.size(); ++i) {
    const auto& c = best[i];
    const auto tokens = static_cast<std::int64_t>(running_[c.parent].ids.size()) + 1;
    const auto& stops = options_.stop_tokens;
    const bool stopped = std::find(stops.begin(), stops.end(), c.token) != stops.end();
    if (!stopped && tokens < longest_) {
      if (next.size() < limit) next.push_back(c);
    } else if (i < limit) {
      Beam beam{running_[c.parent].ids, score(c.sum, tokens)};
      if (!stopped) beam.ids.push_back(c.token);
      finished_.push_back(std::move(beam));
    }
  }
  std::stable_sort(finished_.begin(), finished_.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  if (finished_.size() > limit) finished_.resize(limit);
  return next;
}

double BeamSearch::score(double sum, std::int64_t tokens) const {
  return sum / std::pow(static_cast<double>(tokens), options_.length_penalty);
}

/// No running beam, were it to end here, would be among the finished.
bool BeamSearch::settled(const std::vector<Continuation>& next) const {
  if (finished_.size() < static_cast<std::size_t>(options_.beams)) return false;
  const auto tokens = static_cast<std::int64_t>(running_[next[0].parent].ids.size()) + 1;
  return score(next[0].sum, tokens) <= finished_.back().score;
}

}  // namespace quiver::serving
