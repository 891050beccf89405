// SPDX-License-Identifier: Apache-2.0
// A PEMT target with its sources, whole, as a saved router of kind `pemt`: tensors under the model's own module paths.
//
//   SITE.lora_A.K [R, in], SITE.lora_B.K [out, R]                  source K's factors (its scale in the options), or
//   SITE.source.down.weight.K, .down.bias.K, .up.weight.K, .up.bias.K   its bottleneck
//   SITE.gate [F, K]    SITE.adapter.down.weight, .adapter.down.bias, .adapter.up.weight, .adapter.up.bias
//   NORM.weight [D]     prompt_embeddings [m, D]     source_prompts.K [m_k, D]
#pragma once

#include "quiver/routing/prompts/pemt.h"
#include "quiver/routing/router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

SavedRouter save_pemt(const std::string& name, const model::Model& model, const Pemt& pemt);
/// Throws Error{format} where tensors are missing, Error{mismatch} where they do not fit the model.
Pemt read_pemt(const SavedRouter& saved, const model::Model& model);

/// Every request under the target.
class PemtRouter : public Router {
 public:
  PemtRouter(const model::Model& model, Pemt pemt) : model_(model), pemt_(std::move(pemt)) {}
  std::unique_ptr<Sessions> sessions() const override { return pemt_sessions(model_, pemt_); }
  std::vector<std::string> own_experts() const override { return pemt_.bank->names(); }

 private:
  model::Model model_;
  Pemt pemt_;
};

}  // namespace quiver::routing
