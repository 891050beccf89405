// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/mix.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "quiver/base/error.h"
#include "quiver/kernels/top_k.h"

namespace quiver::ops {
namespace {

/// (expert, token, weight) entries already ordered by expert then token, made into a Mix.
class MixBuilder {
 public:
  MixBuilder(std::int64_t tokens, std::int64_t entries) : entries_(entries) {
    mix_.tokens = tokens;
    mix_.tokens_of_entries = at::empty({entries}, at::kLong);
    mix_.weights = at::empty({entries}, at::kFloat);
    tokens_ = mix_.tokens_of_entries.data_ptr<std::int64_t>();
    weights_ = mix_.weights.data_ptr<float>();
  }

  void add(std::int64_t expert, std::int64_t token, float weight) {
    if (mix_.groups.empty() || mix_.groups.back().expert != expert) mix_.groups.push_back({expert, next_, 0, token});
    auto& group = mix_.groups.back();
    if (group.first_token >= 0 && token != group.first_token + group.count) group.first_token = -1;
    tokens_[next_] = token;
    weights_[next_] = weight;
    all_one_ = all_one_ && weight == 1.0f;
    ++group.count;
    ++next_;
  }

  Mix finish() {
    const bool contiguous =
        std::all_of(mix_.groups.begin(), mix_.groups.end(), [](const auto& g) { return g.first_token >= 0; });
    if (contiguous) mix_.tokens_of_entries.reset();
    if (all_one_) mix_.weights.reset();
    return std::move(mix_);
  }

 private:
  Mix mix_;
  std::int64_t entries_, next_ = 0;
  std::int64_t* tokens_;
  float* weights_;
  bool all_one_ = true;
};

}  // namespace

Mix mix_of_rows(std::int64_t tokens, const std::vector<RowMix>& rows) {
  std::map<std::int64_t, std::vector<std::pair<const RowMix*, float>>> by_expert;
  std::int64_t entries = 0;
  for (const auto& row : rows) {
    QUIVER_CHECK(row.begin >= 0 && row.begin + row.count <= tokens, mismatch, "mix",
                 "a row covers tokens [{}, {}), the batch has {}", row.begin, row.begin + row.count, tokens);
    for (const auto& [expert, weight] : row.pairs) {
      by_expert[expert].emplace_back(&row, weight);
      entries += row.count;
    }
  }
  MixBuilder builder(tokens, entries);
  for (auto& [expert, parts] : by_expert) {
    std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first->begin < b.first->begin; });
    for (const auto& [row, weight] : parts) {
      for (std::int64_t t = row->begin; t < row->begin + row->count; ++t) builder.add(expert, t, weight);
    }
  }
  return builder.finish();
}

Mix constant_mix(std::int64_t tokens, const std::vector<ExpertWeight>& pairs) {
  return mix_of_rows(tokens, {{0, tokens, pairs}});
}

namespace {

struct Selection {
  std::vector<std::int32_t> experts;  ///< [T, k], -1: none
  std::vector<float> weights;
};

/// The fewest best of each token that reach p together, weighted anew.
void keep_share(Selection& s, std::int64_t k, double p) {
  for (std::size_t first = 0; first < s.experts.size(); first += static_cast<std::size_t>(k)) {
    const auto end = first + static_cast<std::size_t>(k);
    double sum = 0.0;
    for (auto i = first; i < end; ++i) {
      if (sum >= p) s.experts[i] = -1;
      if (s.experts[i] >= 0) sum += s.weights[i];
    }
    for (auto i = first; i < end; ++i) s.weights[i] = static_cast<float>(s.weights[i] / sum);
  }
}

/// Weights of those kept become shares of a softmax over all.
void share_among_all(Selection& s, std::int64_t k, const at::Tensor& scores, double temperature) {
  const auto all = (scores / temperature).softmax(1).contiguous();
  const float* share = all.const_data_ptr<float>();
  for (std::size_t i = 0; i < s.experts.size(); ++i) {
    const auto token = static_cast<std::int64_t>(i) / k;
    if (s.experts[i] >= 0) s.weights[i] = share[token * scores.size(1) + s.experts[i]];
  }
}

Selection select(const at::Tensor& scores, std::int64_t k, const TopK& options) {
  const std::int64_t tokens = scores.size(0), experts = scores.size(1);
  Selection out{std::vector<std::int32_t>(static_cast<std::size_t>(tokens * k)),
                std::vector<float>(static_cast<std::size_t>(tokens * k))};
  const float* values = scores.const_data_ptr<float>();
  // A reciprocal beyond float32 would make the best score's distance to itself, 0, no number.
  const auto inverse =
      static_cast<float>(std::min(1.0 / options.temperature, static_cast<double>(std::numeric_limits<float>::max())));
  at::parallel_for(0, tokens, 64, [&](std::int64_t begin, std::int64_t end) {
    kernels::top_k_softmax(values + begin * experts, {end - begin, experts, k, inverse}, out.experts.data() + begin * k,
                           out.weights.data() + begin * k);
  });
  for (std::size_t i = 0; i < out.experts.size(); ++i) {
    const auto token = static_cast<std::int64_t>(i) / k;
    if (out.experts[i] >= 0 && !(values[token * experts + out.experts[i]] > -std::numeric_limits<float>::infinity()))
      out.experts[i] = -1;
  }
  if (options.p < 1.0) keep_share(out, k, options.p);
  if (options.share_of_all) share_among_all(out, k, scores, options.temperature);
  return out;
}

/// Counting sort of the (token, expert) pairs by expert; tokens stay in order within each.
Mix sorted_by_expert(const Selection& chosen, std::int64_t tokens, std::int64_t experts, std::int64_t k) {
  Mix mix;
  mix.tokens = tokens;
  std::vector<std::int64_t> next(static_cast<std::size_t>(experts) + 1, 0);
  for (const auto expert : chosen.experts) {
    if (expert >= 0) ++next[static_cast<std::size_t>(expert) + 1];
  }
  for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
    if (next[e + 1]) mix.groups.push_back({static_cast<std::int64_t>(e), next[e], next[e + 1], -1});
    next[e + 1] += next[e];
  }
  mix.tokens_of_entries = at::empty({next.back()}, at::kLong);
  mix.weights = at::empty({next.back()}, at::kFloat);
  auto* token_of = mix.tokens_of_entries.data_ptr<std::int64_t>();
  auto* weight_of = mix.weights.data_ptr<float>();
  for (std::size_t i = 0; i < chosen.experts.size(); ++i) {
    if (chosen.experts[i] < 0) continue;
    const auto at = next[static_cast<std::size_t>(chosen.experts[i])]++;
    token_of[at] = static_cast<std::int64_t>(i) / k;
    weight_of[at] = chosen.weights[i];
  }
  return mix;
}

/// The selection's weights again as a function of the scores, so that gradients reach them.
Mix differentiable(const Selection& chosen, const at::Tensor& scores, const TopK& options) {
  auto kept = at::zeros(scores.sizes(), at::kBool);
  auto* marks = kept.data_ptr<bool>();
  const auto k = static_cast<std::int64_t>(chosen.experts.size()) / scores.size(0);
  for (std::size_t i = 0; i < chosen.experts.size(); ++i) {
    if (chosen.experts[i] >= 0) marks[static_cast<std::int64_t>(i) / k * scores.size(1) + chosen.experts[i]] = true;
  }
  // A token without any has no weights rather than those of a softmax over nothing.
  const auto none = kept.any(1, true).logical_not();
  const auto scaled = (scores / options.temperature).masked_fill(none, 0.0);
  if (options.share_of_all) return mix_of_dense(scaled.softmax(1) * kept);
  const auto left_out = kept.logical_not().logical_and(none.logical_not());
  return mix_of_dense(scaled.masked_fill(left_out, -std::numeric_limits<float>::infinity()).softmax(1) * kept);
}

}  // namespace

Mix top_k_mix(const at::Tensor& scores, const TopK& options) {
  const std::int64_t tokens = scores.size(0), experts = scores.size(1);
  const std::int64_t k = options.k <= 0 ? experts : std::min(options.k, experts);
  if (tokens == 0) return {};
  const auto chosen = select(scores.detach().contiguous(), k, options);
  if (scores.requires_grad() && c10::GradMode::is_enabled()) return differentiable(chosen, scores, options);
  return sorted_by_expert(chosen, tokens, experts, k);
}

Mix mix_of_dense(const at::Tensor& weights) {
  const auto values = weights.detach().to(at::kFloat).contiguous();
  const std::int64_t tokens = values.size(0), experts = values.size(1);
  const float* data = values.const_data_ptr<float>();
  const auto entries = std::count_if(data, data + tokens * experts, [](float w) { return w != 0.0f; });
  MixBuilder builder(tokens, entries);
  auto expert_of = at::empty({entries}, at::kLong);
  auto token_of = at::empty({entries}, at::kLong);
  std::int64_t next = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (data[t * experts + e] == 0.0f) continue;
      builder.add(e, t, data[t * experts + e]);
      expert_of.data_ptr<std::int64_t>()[next] = e;
      token_of.data_ptr<std::int64_t>()[next++] = t;
    }
  }
  Mix mix = builder.finish();
  mix.weights = at::index(weights, {token_of, expert_of}).to(at::kFloat);
  return mix;
}

at::Tensor dense_weights(const Mix& mix, std::int64_t experts) {
  auto dense = at::zeros({mix.tokens, experts}, at::kFloat);
  auto* out = dense.data_ptr<float>();
  const at::Tensor weights = mix.weights.defined() ? mix.weights.detach().contiguous() : at::Tensor();
  for (const auto& group : mix.groups) {
    for (std::int64_t i = 0; i < group.count; ++i) {
      const auto entry = group.first_entry + i;
      const auto token =
          group.first_token >= 0 ? group.first_token + i : mix.tokens_of_entries.const_data_ptr<std::int64_t>()[entry];
      out[token * experts + group.expert] += weights.defined() ? weights.const_data_ptr<float>()[entry] : 1.0f;
    }
  }
  return dense;
}

}  // namespace quiver::ops
