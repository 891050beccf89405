// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/candidates.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/model/answer_pass.h"
#include "quiver/ops/cross_entropy.h"

namespace quiver::evaluation {
namespace {

/// Reads the prompts into caches; log-probabilities of each one's next token, [prompts, V].
at::Tensor first_tokens(const model::Model& model, const std::vector<PromptCandidates>& prompts,
                        std::vector<model::RowCache>& caches, const model::BindExperts& bind) {
  std::vector<std::span<const std::int32_t>> ids;
  for (const auto& p : prompts) ids.emplace_back(p.prompt);
  return at::log_softmax(model.logits(model::read_prompts(model, ids, caches, bind)), 1).contiguous();
}

/// A candidate that goes on beyond its first token, as a row that branches off its prompt.
struct Branch {
  std::size_t prompt, candidate;
};

void score_branches(const model::Model& model, const std::vector<PromptCandidates>& prompts,
                    std::vector<model::RowCache>& caches, const std::vector<Branch>& branches,
                    const model::BindExperts& bind, std::vector<std::vector<double>>& scores) {
  std::vector<model::RowInput> rows;
  std::vector<std::size_t> requests;
  std::vector<std::int64_t> labels;
  for (const auto& [p, c] : branches) {
    const auto& ids = prompts[p].candidates[c];
    rows.push_back({std::span(ids).first(ids.size() - 1), &caches[p], false});
    requests.push_back(p);
    labels.insert(labels.end(), ids.begin() + 1, ids.end());
  }
  const auto batch = model::pack(rows, model::Part::answer);
  const auto experts = bind(batch, requests);
  const auto hidden = model.forward(batch, experts.get());
  const auto values = ops::head_log_likelihood(hidden, model.head(), at::tensor(labels, at::kLong));
  const float* next = values.const_data_ptr<float>();
  for (const auto& [p, c] : branches) {
    for (std::size_t t = 1; t < prompts[p].candidates[c].size(); ++t) scores[p][c] += *next++;
  }
}

}  // namespace

void add_candidate(std::span<const std::int32_t> prompt, std::span<const std::int32_t> candidate,
                   std::vector<PromptCandidates>& to) {
  if (to.empty() || !std::equal(prompt.begin(), prompt.end(), to.back().prompt.begin(), to.back().prompt.end()))
    to.push_back({{prompt.begin(), prompt.end()}, {}});
  to.back().candidates.emplace_back(candidate.begin(), candidate.end());
}

std::vector<std::vector<double>> score_candidates(const model::Model& model,
                                                  const std::vector<PromptCandidates>& prompts,
                                                  const model::BindExperts& bind) {
  constexpr std::int64_t kBranch_tokens = 4096;
  const c10::AutoGradMode no_gradient(false);
  std::vector<model::RowCache> caches(prompts.size());
  const auto first = first_tokens(model, prompts, caches, bind);
  std::vector<std::vector<double>> scores(prompts.size());
  std::vector<Branch> branches;
  std::int64_t tokens = 0;
  const auto flush = [&] {
    if (!branches.empty()) score_branches(model, prompts, caches, branches, bind, scores);
    branches.clear();
    tokens = 0;
  };
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    scores[p].resize(prompts[p].candidates.size());
    for (std::size_t c = 0; c < scores[p].size(); ++c) {
      const auto& ids = prompts[p].candidates[c];
      scores[p][c] = first.const_data_ptr<float>()[static_cast<std::int64_t>(p) * first.size(1) + ids[0]];
      if (ids.size() == 1) continue;
      branches.push_back({p, c});
      tokens += static_cast<std::int64_t>(ids.size());
      if (tokens >= kBranch_tokens) flush();
    }
  }
  flush();
  return scores;
}

}  // namespace quiver::evaluation
