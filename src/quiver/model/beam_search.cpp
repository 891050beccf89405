// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/beam_search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/model/answer_pass.h"

namespace quiver::model {
namespace {

/// A beam that goes on.
struct Running {
  std::vector<std::int32_t> ids;
  double sum = 0.0;  ///< of log-probabilities
  RowCache cache;
};

/// A beam one token longer.
struct Continuation {
  std::size_t parent = 0;
  std::int32_t token = 0;
  double sum = 0.0;
};

class Search {
 public:
  Search(const Model& model, const BeamOptions& options, const BindExperts& bind)
      : model_(model), options_(options), bind_(bind) {}

  std::vector<Beam> run(const std::vector<std::int32_t>& prompt) {
    std::vector<RowCache> caches(1);
    auto logits = model_.logits(read_prompts(model_, {prompt}, caches, bind_));
    running_.push_back({{}, 0.0, std::move(caches[0])});
    while (true) {
      const auto next = choose(best_continuations(logits));
      if (next.empty() || settled(next)) return finished_;
      go_on(next);
      logits = step();
    }
  }

 private:
  std::vector<Continuation> best_continuations(const at::Tensor& logits) const {
    std::vector<double> sums;
    for (const auto& beam : running_) sums.push_back(beam.sum);
    const auto all = at::log_softmax(logits.to(at::kDouble), 1) + at::tensor(sums, at::kDouble).unsqueeze(1);
    const auto vocabulary = all.size(1);
    const auto kept = std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(options_.stop_tokens.size()));
    const auto [values, places] = at::topk(all.reshape({-1}), std::min(kept * options_.beams, all.numel()));
    std::vector<Continuation> out;
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const auto place = places[i].item<std::int64_t>();
      out.push_back({static_cast<std::size_t>(place / vocabulary), static_cast<std::int32_t>(place % vocabulary),
                     values[i].item<double>()});
    }
    return out;
  }

  /// Those that go on; those that end, among the first `beams`, are finished.
  std::vector<Continuation> choose(const std::vector<Continuation>& best) {
    std::vector<Continuation> next;
    const auto limit = static_cast<std::size_t>(options_.beams);
    for (std::size_t i = 0; i < best.size(); ++i) {
      const auto& c = best[i];
      const auto tokens = static_cast<std::int64_t>(running_[c.parent].ids.size()) + 1;
      const auto& stops = options_.stop_tokens;
      const bool stopped = std::find(stops.begin(), stops.end(), c.token) != stops.end();
      if (!stopped && tokens < options_.max_new_tokens) {
        if (next.size() < limit) next.push_back(c);
      } else if (i < limit) {
        Beam beam{running_[c.parent].ids, score(c.sum, tokens)};
        if (!stopped) beam.ids.push_back(c.token);
        finished_.push_back(std::move(beam));
      }
    }
    std::stable_sort(finished_.begin(), finished_.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    if (finished_.size() > limit) finished_.resize(limit);
    return next;
  }

  double score(double sum, std::int64_t tokens) const {
    return sum / std::pow(static_cast<double>(tokens), options_.length_penalty);
  }

  /// No running beam, were it to end here, would be among the finished.
  bool settled(const std::vector<Continuation>& next) const {
    if (finished_.size() < static_cast<std::size_t>(options_.beams)) return false;
    const auto tokens = static_cast<std::int64_t>(running_[next[0].parent].ids.size()) + 1;
    return score(next[0].sum, tokens) <= finished_.back().score;
  }

  void go_on(const std::vector<Continuation>& next) {
    std::vector<std::size_t> children(running_.size(), 0);
    for (const auto& c : next) ++children[c.parent];
    std::vector<Running> chosen;
    for (const auto& c : next) {
      auto& parent = running_[c.parent];
      auto ids = parent.ids;
      ids.push_back(c.token);
      // The last child takes its parent's cache, the others copy it.
      auto cache = --children[c.parent] == 0 ? std::move(parent.cache) : parent.cache.copy();
      chosen.push_back({std::move(ids), c.sum, std::move(cache)});
    }
    running_ = std::move(chosen);
  }

  /// Feeds each beam's last token; logits [beams, V].
  at::Tensor step() {
    std::vector<RowInput> rows;
    for (auto& beam : running_) rows.push_back({std::span(beam.ids).last(1), &beam.cache, true});
    const auto batch = pack(rows, Part::answer);
    const auto experts = bind_(batch, std::vector<std::size_t>(rows.size(), 0));
    return model_.logits(model_.forward(batch, experts.get()));
  }

  const Model& model_;
  const BeamOptions& options_;
  const BindExperts& bind_;
  std::vector<Running> running_;
  std::vector<Beam> finished_;
};

}  // namespace

std::vector<Beam> beam_search(const Model& model, const std::vector<std::int32_t>& prompt, const BeamOptions& options,
                              const BindExperts& bind) {
  QUIVER_CHECK(options.beams >= 1 && options.beams <= 1024, usage, "--beams", "{}, expected 1 to 1024", options.beams);
  QUIVER_CHECK(options.max_new_tokens >= 1, usage, "--max-new-tokens", "{}, expected 1 or more for a search by beams",
               options.max_new_tokens);
  const c10::AutoGradMode no_gradient(false);
  return Search(model, options, bind).run(prompt);
}

}  // namespace quiver::model
