// SPDX-License-Identifier: Apache-2.0
// ATTEMPT (Asai et al., 2022): a prompt of vectors that each text's words mix from those of source tasks.
//
//   x^ = max over the text's tokens of E(x),  p^_j = max over the m vectors of P_j;  j the K sources and the target
//   q  = LayerNorm(U silu(D x^)),  a = softmax_j(p^_j q / temperature)
//   P  = P_target + sum_j a_j P_j
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quiver/routing/router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

struct Attempt {
  at::Tensor sources;                 ///< [K, m, D]
  at::Tensor prompt;                  ///< P_target [m, D]
  at::Tensor down, up;                ///< [W, D], [D, W]
  at::Tensor norm_weight, norm_bias;  ///< [D]
  double temperature = 1.0;           ///< the authors': D times e
};

/// P of a text. embedding: the model's [V, D]. Differentiable in the target's tensors. An empty text mixes equal
/// shares.
at::Tensor attempt_prompt(const Attempt& attempt, const at::Tensor& embedding, std::span<const std::int32_t> text);

/// As a saved router of kind `attempt`: source_prompts, prompt_embeddings, attention.down.weight, attention.up.weight,
/// attention.norm.weight, attention.norm.bias; the temperature among its options.
SavedRouter save_attempt(const std::string& name, const Attempt& attempt);
/// Throws Error{format} where tensors are missing or do not fit each other, Error{mismatch} where they do not fit the
/// model.
Attempt read_attempt(const SavedRouter& saved, const model::Model& model);

/// Every request under its own mixture, and the base model behind it.
class AttemptRouter : public Router {
 public:
  AttemptRouter(const model::Model& model, Attempt attempt) : model_(model), attempt_(std::move(attempt)) {}
  std::unique_ptr<Sessions> sessions() const override;

 private:
  class AttemptSessions;
  model::Model model_;
  Attempt attempt_;
};

}  // namespace quiver::routing
