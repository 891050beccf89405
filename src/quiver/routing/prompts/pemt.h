// SPDX-License-Identifier: Apache-2.0
// PEMT's second stage (arXiv 2402.15082): a target task over frozen source experts.
//
//   prompt   P^ = P + sum_k softmax_rows(P P_k^T) P_k, read before the text; P the target's, P_k the sources'
//   gate     at each gated site l: g_l = softmax(mean over the prompt's positions of h G_l / temperature) for each
//   text,
//            h what the site reads in the encoder, the encoder's final states in the decoder; `correlation`: h = P^.
//            Without an encoder h is what the site reads at the prompt's positions, which come before the text and
//            cannot see it: the gates are the task's, alike for all its texts, and `folded` makes the target one
//            adapter
//   site     y_l = W u + sum_k g_lk s_k B_lk A_lk u, then the target's bottleneck: z_l = y_l + Up f(Down y_l)
//   loss     sparsity = mean over l of sum_k mean over texts of g_lk (1 - c_lk),  c_lk = mean over tokens of
//            cos(z_l, B_lk A_lk u)
//
// The mixture is apply_experts over a bank of the sources and, last, the target. The experts' outputs are never formed:
// with h_k = A_k u and M_k = B_k^T B_k,  <z, B_k h_k> = (B_k^T z) h_k  and  |B_k h_k|^2 = h_k^T M_k h_k. Sources may be
// bottlenecks beside the site instead (h_k = f(D_k u), and a bias). A text's decoder
// gates depend on its prompt alone, so they are computed once for all steps of generation.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"
#include "quiver/routing/sessions.h"

namespace quiver::routing {

struct PemtOptions {
  enum class Gate { prompt_mean, correlation };
  Gate gate = Gate::prompt_mean;
  double temperature = 1.0;
  bool live = true;  ///< the prompt attends to the sources' at every pass; false: `prompt` is what is read
  /// Sparsity counts tokens of text alone, not those of the prompt.
  bool mask_prompt = false;
};

struct Pemt {
  /// The sources (factors, or bottlenecks beside the site), then the target (bottlenecks after it, norms), the last.
  std::shared_ptr<const adapter::Bank> bank;
  std::vector<at::Tensor> source_prompts;    ///< [m_k, D]; none where the sources have none
  at::Tensor prompt;                         ///< [m, D]
  std::map<std::int64_t, at::Tensor> gates;  ///< by site: [F, K], F the width of h
  PemtOptions options;

  std::int64_t sources() const { return bank->size() - 1; }
};

/// P^.
at::Tensor guided_prompt(const at::Tensor& prompt, const std::vector<at::Tensor>& source_prompts);

/// What a pass finds out beside its states.
struct PemtTrace {
  at::Tensor sparsity;                       ///< a scalar, differentiable; undefined before a pass
  std::map<std::int64_t, at::Tensor> gates;  ///< by site: [texts, K]
};

/// For `texts` requests. trace: may be null; else it is filled by the passes that follow, each text's prompt and answer
/// once, and must outlive them.
model::BindExperts bind_pemt(const model::Model& model, const Pemt& pemt, std::size_t texts,
                             PemtTrace* trace = nullptr);
/// For requests that come and go. The target must outlive them.
std::unique_ptr<Sessions> pemt_sessions(const model::Model& model, const Pemt& pemt);

/// The target with its gates taken in: an adapter whose factors are those of all sources side by side, each by its
/// gate, and all else the target's. Exact. Throws Error{unsupported} on an encoder-decoder, whose gates depend on the
/// text unless they are by correlation, and where sources are not factors.
adapter::Adapter folded(const model::Model& model, const Pemt& pemt);

}  // namespace quiver::routing
